/** Who has a file or block device open: asked when somebody else is in the way, so that the message can name them. */

import { readdir, readFile, stat } from "node:fs/promises";
import { StackError } from "../errors.js";

/** @returns the same error, with the processes that have the path open if it is about a path in use */
export async function withHolder(error: unknown): Promise<unknown> {
  if (!(error instanceof StackError) || error.code !== "path-in-use") return error;
  const { path } = error.details;
  const holders = typeof path === "string" ? await holdersOf(path) : [];
  if (holders.length === 0) return error;
  return new StackError(
    error.code,
    `${error.message}: ${holders.join(", ")}`,
    { ...error.details, holders },
    { cause: error },
  );
}

/** Processes that have a file or block device open, such as "qemu-io (process 4711)"; those of other users are seen by root alone. */
export async function holdersOf(path: string): Promise<string[]> {
  const wanted = await identity(path);
  if (wanted === null) return [];
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => ((await hasOpen(pid, wanted)) ? describe(pid) : null)),
  );
  return found.filter((words) => words !== null);
}

async function identity(path: string): Promise<string | null> {
  try {
    const found = await stat(path);
    return found.isBlockDevice() ? `block:${found.rdev}` : `${found.dev}:${found.ino}`;
  } catch (error) {
    return ignoreGone(error);
  }
}

async function hasOpen(pid: string, wanted: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  try {
    for (const fd of await readdir(folder)) if ((await identity(`${folder}/${fd}`)) === wanted) return true;
  } catch (error) {
    ignoreGone(error);
  }
  return false;
}

async function describe(pid: string): Promise<string | null> {
  try {
    return `${(await readFile(`/proc/${pid}/comm`, "utf8")).trim()} (process ${pid})`;
  } catch (error) {
    return ignoreGone(error);
  }
}

/** Processes and their files come and go while we look, and some are not ours to look at. */
function ignoreGone(error: unknown): null {
  const { code = "" } = error as NodeJS.ErrnoException;
  if (["ENOENT", "ESRCH", "EACCES", "EPERM", "ENOTDIR"].includes(code)) return null;
  throw error;
}
