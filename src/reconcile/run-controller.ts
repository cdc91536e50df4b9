/** `ublk-stack controller run`: a controller as a process of its own. */

import { closeSync, writeSync } from "node:fs";
import { serverProgram } from "../native.js";
import { Controller } from "./controller.js";
import { notifyReady } from "./notify.js";
import { type Paths, resolvePaths } from "./paths.js";
import { READY_FD_VARIABLE } from "./spawn-controller.js";
import { ublkDriver } from "./ublk-driver.js";

export interface RunOptions {
  /** Go on when the last stack is deleted. */
  readonly stay: boolean;
  readonly paths?: Paths;
}

/**
 * Runs until it is told to end (SIGTERM, SIGINT, `controller stop`) or the last stack is deleted.
 * @returns false when another controller runs already
 * @throws StackError when it cannot start
 */
export async function runController({ stay, paths = resolvePaths() }: RunOptions): Promise<boolean> {
  const starter = readyFd();
  try {
    const controller = await Controller.start({
      paths,
      driver: ublkDriver(),
      serverCommand: serverCommand(),
      stay,
    });
    tell(starter, controller === null ? "another" : "listening");
    if (controller === null) return false;
    const end = () => void controller.close();
    process.once("SIGTERM", end).once("SIGINT", end);
    await notifyReady();
    await controller.ended;
    return true;
  } catch (error) {
    tell(starter, error instanceof Error ? error.message : String(error));
    throw error;
  }
}

/** The server program; the variable is for builds elsewhere, such as the sanitised one. */
export function serverCommand(): readonly string[] {
  const other = process.env.UBLK_STACK_SERVER;
  return [other === undefined || other === "" ? serverProgram() : other];
}

/** Whoever started us listens here, once. Children of ours must not find it. */
function readyFd(): number | null {
  const text = process.env[READY_FD_VARIABLE];
  delete process.env[READY_FD_VARIABLE];
  const fd = Number.parseInt(text ?? "", 10);
  return Number.isSafeInteger(fd) && fd > 2 ? fd : null;
}

function tell(fd: number | null, words: string): void {
  if (fd === null) return;
  try {
    writeSync(fd, `${words.replaceAll("\n", " ")}\n`);
    closeSync(fd);
  } catch (error) {
    // The starter has gone, or has its line already.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EPIPE" && code !== "EBADF") throw error;
  }
}
