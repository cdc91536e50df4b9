/** Looking at one path without changing anything: what is there, and what stands in the way. */

import { constants } from "node:fs";
import { access, lstat, realpath, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

export type PathKind = "file" | "folder" | "block device" | "character device" | "pipe" | "socket";

/** A path that leads to something. */
export interface Present {
  readonly state: "present";
  readonly kind: PathKind;
  /** Equal for equal media, whatever the path: device and inode, or the number of a block device. */
  readonly identity: string;
  readonly realPath: string;
  readonly sizeBytes: number;
  /** The device that the file is on, or that the block device is; as in stat. */
  readonly device: number;
}

/** A path whose folder is there. */
export interface Missing {
  readonly state: "missing";
  /** The folder's real path and the name: equal for paths that would make the same file. */
  readonly identity: string;
  readonly realPath: string;
  /** The device that a file made here would be on. */
  readonly device: number;
}

/** A path that cannot be followed to its end. */
export interface Obstructed {
  readonly state: "obstructed";
  readonly errno: string;
  /** Whole sentence without a full stop, for the message. */
  readonly message: string;
}

export type Look = Present | Missing | Obstructed;

export async function lookAt(path: string): Promise<Look> {
  try {
    const [found, realPath] = [await stat(path), await realpath(path)];
    const kind = kindOf(found);
    const isBlock = kind === "block device";
    return {
      state: "present",
      kind,
      identity: isBlock ? `block:${found.rdev}` : `file:${found.dev}:${found.ino}`,
      realPath,
      sizeBytes: found.size,
      device: isBlock ? found.rdev : found.dev,
    };
  } catch (error) {
    const { code = "EIO" } = error as NodeJS.ErrnoException;
    return code === "ENOENT"
      ? lookAtMissing(path)
      : { state: "obstructed", errno: code, message: obstacle(path, code) };
  }
}

async function lookAtMissing(path: string): Promise<Missing | Obstructed> {
  if (await isLink(path)) {
    return { state: "obstructed", errno: "ENOENT", message: `"${path}" is a symbolic link to nothing` };
  }
  const folder = dirname(path);
  try {
    const found = await stat(folder);
    const realPath = join(await realpath(folder), basename(path));
    return { state: "missing", identity: `path:${realPath}`, realPath, device: found.dev };
  } catch (error) {
    const { code = "EIO" } = error as NodeJS.ErrnoException;
    const message = code === "ENOENT" ? `folder "${folder}" does not exist` : obstacle(folder, code);
    return { state: "obstructed", errno: code, message };
  }
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

function obstacle(path: string, errno: string): string {
  const words: Record<string, string> = {
    EACCES: `not allowed to reach "${path}"`,
    ENOTDIR: `a part of "${path}" is not a folder`,
    ELOOP: `"${path}" leads through too many symbolic links`,
    ENAMETOOLONG: `"${path}" is longer than the file system takes`,
  };
  return words[errno] ?? `cannot look at "${path}": ${errno}`;
}

function kindOf(found: Awaited<ReturnType<typeof stat>>): PathKind {
  if (found.isFile()) return "file";
  if (found.isDirectory()) return "folder";
  if (found.isBlockDevice()) return "block device";
  if (found.isCharacterDevice()) return "character device";
  return found.isFIFO() ? "pipe" : "socket";
}

/** @returns the errno that reading (and writing) would give, or null when it is allowed */
export async function accessError(path: string, mode: "read" | "write" | "create"): Promise<string | null> {
  const wanted = {
    read: constants.R_OK,
    write: constants.R_OK | constants.W_OK,
    create: constants.W_OK | constants.X_OK,
  }[mode];
  try {
    await access(path, wanted);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "EIO";
  }
}

const MAX_FILE_BYTES: ReadonlyMap<number, { readonly bytes: number; readonly name: string }> = new Map([
  [0x4d44, { bytes: 2 ** 32 - 1, name: "FAT" }],
  // 2^32 blocks of 4 KiB less one; smaller blocks hold less, which making the file then tells.
  [0xef53, { bytes: 2 ** 44 - 4096, name: "ext4" }],
]);

/** The longest file of the file system that a folder is on, where it is known. */
export async function longestFile(folder: string): Promise<{ bytes: number; name: string } | null> {
  return MAX_FILE_BYTES.get((await statfs(folder)).type) ?? null;
}
