/** config.json: all that a server knows of the world. Written before it starts, read by it alone. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Device, Table } from "../compile/table.js";
import { StackError } from "../errors.js";
import { type ImageName, imageNames } from "./image-names.js";
import { deviceRunDir, nbdSocket, type Paths, stackLog, stackStateDir } from "./paths.js";
import { readJson } from "./state-file.js";

export interface ServerConfig {
  readonly table: Device;
  readonly runtime: {
    readonly stack: string;
    readonly runDir: string;
    readonly stateDir: string;
    readonly logFile: string;
    /** Absolute paths of leaves and traces by layer name. */
    readonly paths: Readonly<Record<string, string>>;
    /** How headers of images name the layers that other devices of the stack serve. */
    readonly imageNames: Readonly<Record<string, ImageName>>;
    readonly nbdSocket?: string;
    readonly tcp?: string;
    /** 16 hex digits, see ownerTag. */
    readonly tag: string;
    readonly bootId: string;
    /** Layers whose media were created empty by the apply that starts this server. */
    readonly blank: readonly string[];
    /** How long to wait for the locks of leaves; left out: long enough for the IO of a dead predecessor. */
    readonly lockWaitMs?: number;
  };
}

/** What a stack as a whole gives to the configurations of its servers. */
export interface ConfigInput {
  readonly paths: Paths;
  readonly stack: string;
  readonly baseDir: string;
  /** All devices of the stack. */
  readonly table: Table;
  /** Absolute paths of files, block devices, memory files and traces by layer name. */
  readonly leafPaths: Readonly<Record<string, string>>;
  readonly blank: readonly string[];
  readonly lockWaitMs?: number;
}

/**
 * @param opened ids of the ublk devices that this one opens, by device name
 * @throws StackError internal when a device is opened that has none
 */
export function serverConfig(
  device: Device,
  input: ConfigInput,
  opened: ReadonlyMap<string, number>,
): ServerConfig {
  const { paths, stack, baseDir } = input;
  const leaves = device.layers.flatMap((layer): [string, string][] => {
    if (typeof layer.params.device === "string") {
      const id = opened.get(layer.params.device);
      if (id === undefined) {
        throw new StackError(
          "internal",
          `device "${device.name}" opens "${layer.params.device}", which has no number`,
        );
      }
      return [[layer.name, `/dev/ublkb${id}`]];
    }
    const path = input.leafPaths[layer.name];
    return path === undefined ? [] : [[layer.name, path]];
  });
  const { nbd } = device;
  return {
    table: device,
    runtime: {
      stack,
      runDir: deviceRunDir(paths, stack, device.name),
      stateDir: stackStateDir(paths, stack),
      logFile: stackLog(paths, stack),
      paths: Object.fromEntries(leaves),
      imageNames: imageNames(device, input.table, input.leafPaths),
      ...(nbd === null
        ? {}
        : { nbdSocket: nbd.socket === null ? nbdSocket(paths, stack) : resolve(baseDir, nbd.socket) }),
      ...(nbd?.tcp == null ? {} : { tcp: nbd.tcp }),
      tag: ownerTag(paths.stateDir, stack, device.name),
      bootId: bootId(),
      blank: input.blank.filter((name) => device.layers.some((layer) => layer.name === name)),
      ...(input.lockWaitMs === undefined ? {} : { lockWaitMs: input.lockWaitMs }),
    },
  };
}

export const configFile = (runDir: string) => join(runDir, "config.json");

/** What the server of a run folder was started with; null when there is none. @throws StackError state-corrupt */
export async function readConfig(runDir: string): Promise<ServerConfig | null> {
  const path = configFile(runDir);
  const value = await readJson(path);
  if (value === undefined) return null;
  const { table, runtime } = value as Partial<ServerConfig>;
  if (Array.isArray(table?.layers) && typeof runtime?.paths === "object") return value as ServerConfig;
  throw new StackError("state-corrupt", `${path} does not hold a server's configuration`, { path });
}

/** Marks a ublk device as ours: 0x5542 ("UB"), then 48 bits that differ by stack, device and state folder. */
export function ownerTag(stateDir: string, stack: string, device: string): string {
  return `5542${createHash("sha256").update(`${stack}/${device}@${stateDir}`).digest("hex").slice(0, 12)}`;
}

/** Another value after every boot of the kernel. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
