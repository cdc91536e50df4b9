/** JSON files that are either the old or the new one, whatever happens while they are written. */

import { type FileHandle, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { StackError } from "../errors.js";

/**
 * Replaces a file: written beside it, made durable, renamed over it, and the folder made durable.
 * @throws StackError no-space, permission-denied or io-error; the old file is still there then
 */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const beside = `${path}.new`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await withFile(beside, "w", async (file) => {
      await file.writeFile(`${JSON.stringify(value, null, 1)}\n`);
      await file.sync();
    });
    await rename(beside, path);
    await syncFolder(dirname(path));
  } catch (error) {
    throw fileError(error, `cannot write ${path}`, path);
  }
}

/** @returns the value, or undefined when there is no such file. @throws StackError state-corrupt when it is no JSON */
export async function readJson(path: string): Promise<unknown> {
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StackError(
      "state-corrupt",
      `${path} is not what was written there`,
      { path },
      { cause: error },
    );
  }
}

/** @returns the text, or undefined when there is no such file */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fileError(error, `cannot read ${path}`, path);
  }
}

/** Removes a file for good, if it is there. */
export async function removeFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
    await syncFolder(dirname(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw fileError(error, `cannot remove ${path}`, path);
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  await withFile(path, "r", (folder) => folder.sync());
}

export async function withFile<T>(
  path: string,
  flags: string,
  use: (file: FileHandle) => Promise<T>,
  mode = 0o600,
): Promise<T> {
  const file = await open(path, flags, mode);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** An error of the file system in the words of the catalogue. */
export function fileError(error: unknown, what: string, path: string): StackError {
  if (error instanceof StackError) return error;
  const { code: errno, message } = error as NodeJS.ErrnoException;
  const code =
    errno === "EACCES" || errno === "EPERM" || errno === "EROFS"
      ? "permission-denied"
      : errno === "ENOSPC" || errno === "EDQUOT"
        ? "no-space"
        : "io-error";
  return new StackError(code, `${what}: ${message}`, { path, errno }, { cause: error });
}
