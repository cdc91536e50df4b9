/** An image that a command line names, open; and what may be in the way, in words. */

import { StackError } from "../../errors.js";
import {
  type ImageHandle,
  type ImageHeader,
  loadNative,
  type Native,
  type NativeError,
  type Qcow2Header,
} from "../../native.js";
import { clean } from "../render/clean.js";
import type { ImageTarget } from "./image-target.js";

export interface ImageSession {
  readonly native: Native;
  readonly handle: ImageHandle;
  readonly header: Qcow2Header;
  /** Somebody writes to it; else nobody of QEMU's or ours can before it is closed. */
  readonly inUse: boolean;
  readonly fileBytes: number;
  readonly diskBytes: number;
  /** For what may take long: set when nobody wants it any more. */
  readonly stop: Int32Array;
}

const MISSING: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENOTDIR: "a part of the path is no folder",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the path is too long",
};

/** What a failure on a file means to the user. */
export function toStackError(error: NativeError, { name }: ImageTarget): StackError {
  const details = { errno: error.code, op: error.op };
  const options = { cause: error };
  const missing = MISSING[error.code];
  const say = (code: ConstructorParameters<typeof StackError>[0], message: string) =>
    new StackError(code, message, details, options);
  if (missing !== undefined) return say("path-missing", `cannot open ${name}: ${missing}`);
  switch (error.code) {
    case "EACCES":
    case "EPERM":
      return say("permission-denied", `cannot open ${name}: permission denied`);
    case "EISDIR":
      return say("not-a-file", `${name} is a folder`);
    case "ENOTBLK":
      return say("not-a-file", `${name} is neither a regular file nor a block device`);
    case "EROFS":
      return say("permission-denied", `cannot ${error.op} ${name}: it is on a read-only file system`);
    case "ENOSPC":
      return say(
        "no-space",
        `cannot ${error.op} ${name}: there is no space left; it is whole, and may be smaller`,
      );
    default:
      return say("io-error", `cannot ${error.op} ${name}: ${error.code}`);
  }
}

export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && "code" in error && "op" in error;
}

/** Why a file is not looked at any further. */
export function noImage(header: Exclude<ImageHeader, Qcow2Header>, { name }: ImageTarget): StackError {
  if (header.kind === "refused") {
    return new StackError("image-refused", `${name} cannot be read: ${clean(header.message)}`);
  }
  return new StackError(
    "not-an-image",
    header.kind === "blank" ? `${name} is blank: there is no image in it` : `${name} is no qcow2 image`,
  );
}

async function openImage(native: Native, target: ImageTarget, stop: Int32Array): Promise<ImageSession> {
  const { handle, header, ...rest } = await native.imageOpen(target.path);
  if (header.kind === "qcow2") return { native, handle, header, stop, ...rest };
  native.imageClose(handle);
  throw noImage(header, target);
}

/**
 * Opens an image for as long as `use` takes.
 * @throws StackError path-missing, permission-denied, not-a-file, not-an-image, image-refused, io-error
 */
export async function withImage<T>(
  target: ImageTarget,
  signal: AbortSignal,
  use: (session: ImageSession) => Promise<T>,
): Promise<T> {
  const native = loadNative();
  const stop = new Int32Array(1);
  signal.addEventListener("abort", () => Atomics.store(stop, 0, 1), { once: true });
  try {
    const session = await openImage(native, target, stop);
    try {
      return await use(session);
    } finally {
      native.imageClose(session.handle);
    }
  } catch (error) {
    throw isNativeError(error) ? toStackError(error, target) : error;
  }
}
