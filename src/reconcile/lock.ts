/**
 * One controller per run folder. The lock is the kernel's (flock), so it ends with its holder, however that dies:
 * there is no stale lock to judge. Node has no flock; the `flock` program of util-linux locks the descriptor that it
 * is given, and since descriptor and lock are shared with us, the lock stays when the program has gone.
 */

import { spawn } from "node:child_process";
import { type FileHandle, open } from "node:fs/promises";
import { StackError } from "../errors.js";

/** flock's exit code when somebody else holds the lock. */
const HELD = 75;

export interface Lock {
  release(): Promise<void>;
}

/**
 * @param path the pid file; it holds the holder's process id for people to read
 * @param waitSeconds how long to wait for another holder to end; 0 not at all
 * @returns null when somebody else holds the lock
 */
export async function takeLock(path: string, waitSeconds: number): Promise<Lock | null> {
  const file = await open(path, "a+", 0o600);
  let taken = false;
  try {
    taken = await flock(file, waitSeconds);
    if (!taken) return null;
    await file.truncate(0);
    await file.write(`${process.pid}\n`);
    return { release: () => file.close() };
  } finally {
    if (!taken) await file.close();
  }
}

function flock(file: FileHandle, waitSeconds: number): Promise<boolean> {
  const patience = waitSeconds === 0 ? ["--nonblock"] : ["--timeout", String(waitSeconds)];
  const child = spawn("flock", ["--exclusive", "--conflict-exit-code", String(HELD), ...patience, "3"], {
    stdio: ["ignore", "ignore", "pipe", file.fd],
  });
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (piece: string) => {
    words += piece;
  });
  return new Promise((resolve, reject) => {
    child.once("error", (error) => {
      reject(
        new StackError("controller-unreachable", `cannot run flock (package util-linux): ${error.message}`),
      );
    });
    child.once("close", (code) => {
      if (code === 0) resolve(true);
      else if (code === HELD) resolve(false);
      else
        reject(new StackError("controller-unreachable", `flock failed: ${words.trim() || `exit ${code}`}`));
    });
  });
}
