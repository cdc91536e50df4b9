/** Processes by their pid files. A number may have been given to another process since: the command line decides. */

import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { StackError } from "../errors.js";
import { readIfThere } from "./state-file.js";

/** How often a process that is to end is looked at: nothing tells when somebody else's child ends. */
const LOOK_MS = 10;

/**
 * The process that a pid file names, if it runs and is about this configuration.
 * @param config path that must be among its arguments
 */
export async function processOf(pidFile: string, config: string): Promise<number | null> {
  const text = await readIfThere(pidFile);
  const pid = Number.parseInt(text ?? "", 10);
  return Number.isSafeInteger(pid) && pid > 1 && (await isServing(pid, config)) ? pid : null;
}

/** Whether a process runs (a zombie does not) and has `config` among its arguments. */
export async function isServing(pid: number, config: string): Promise<boolean> {
  try {
    const args = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
    return args.includes(config);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return false;
    throw error;
  }
}

/** @throws StackError permission-denied when the process is somebody else's */
export function signalProcess(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ESRCH") return;
    throw new StackError(
      "permission-denied",
      `cannot send ${signal} to process ${pid}`,
      { pid },
      { cause: error },
    );
  }
}

/** @returns whether it ended in time */
export async function waitForEnd(pid: number, config: string, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (await isServing(pid, config)) {
    if (performance.now() > end) return false;
    await delay(LOOK_MS);
  }
  return true;
}
