/** Making the files of leaves. Only what is absent is made, and only what was made here is ever taken back. */

import { constants } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { StackError } from "../errors.js";
import { ensurePrivateFolder } from "./paths.js";
import { fileError, syncFolder } from "./state-file.js";

/**
 * Makes an empty, sparse file of a size, durably. The file must not exist.
 * @throws StackError path-in-use when somebody made it meanwhile, file-too-large, no-space, permission-denied
 */
export async function createSparseFile(path: string, sizeBytes: number): Promise<void> {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;
  try {
    const file = await open(path, flags, 0o600);
    try {
      await file.truncate(sizeBytes);
      await file.sync();
    } catch (error) {
      await rm(path);
      throw error;
    } finally {
      await file.close();
    }
    await syncFolder(dirname(path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      throw new StackError(
        "path-in-use",
        `"${path}" has been made by another program just now`,
        { path },
        { cause: error },
      );
    }
    if (code === "EFBIG" || code === "EINVAL") {
      const message = `the file system of "${path}" takes no file of ${sizeBytes} bytes`;
      throw new StackError("file-too-large", message, { path, sizeBytes }, { cause: error });
    }
    throw fileError(error, `cannot make "${path}"`, path);
  }
}

/** The same for the file of a memory layer, whose folder is ours. */
export async function createMemoryFile(memoryDir: string, path: string, sizeBytes: number): Promise<void> {
  ensurePrivateFolder(memoryDir);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await createSparseFile(path, sizeBytes);
}
