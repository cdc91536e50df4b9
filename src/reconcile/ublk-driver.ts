/** The real ublk driver, through the addon. On a host without one, the addon is not even loaded. */

import { existsSync } from "node:fs";
import { type ErrorCode, StackError } from "../errors.js";
import { loadNative, type NativeError, type UblkDevice } from "../native.js";
import type { Driver, DriverDevice } from "./driver.js";

const CONTROL_NODE = "/dev/ublk-control";
/** What the driver says to users who may not. */
const NOT_FOR_US = new Set(["ENOENT", "ENODEV", "ENXIO", "EACCES", "EPERM", "ENOSYS"]);

export function ublkDriver(): Driver {
  return {
    async available() {
      if (!existsSync(CONTROL_NODE)) return false;
      try {
        await loadNative().features();
        return true;
      } catch (error) {
        if (isNative(error) && NOT_FOR_US.has(error.code)) return false;
        throw refused(error);
      }
    },

    async list() {
      if (!(await this.available())) return [];
      try {
        return (await loadNative().listDevs()).map(toDriverDevice);
      } catch (error) {
        throw refused(error);
      }
    },

    stop: (id, timeoutMs) => attempt(() => loadNative().stopDev(id, timeoutMs)),
    remove: (id, timeoutMs) => attempt(() => loadNative().delDev(id, timeoutMs)),
  };
}

function toDriverDevice({ id, state, tag }: UblkDevice): DriverDevice {
  // A state of a later kernel: whoever acts on it acts on a device that waits for a server.
  return { id, state: state === "unknown" ? "quiesced" : state, tag };
}

/** A device that has gone meanwhile is what was wanted. */
async function attempt(command: () => Promise<void>): Promise<void> {
  try {
    await command();
  } catch (error) {
    if (isNative(error) && error.code === "ENODEV") return;
    throw refused(error);
  }
}

const isNative = (error: unknown): error is NativeError =>
  error instanceof Error && "code" in error && "op" in error;

function refused(error: unknown): unknown {
  if (!isNative(error)) return error;
  const code: ErrorCode =
    error.code === "ETIME" ? "timeout" : error.code === "EBUSY" ? "device-in-use" : "kernel-refused";
  return new StackError(
    code,
    `ublk ${error.op}: ${error.message}`,
    { errno: error.code, op: error.op },
    { cause: error },
  );
}
