/** Files as the model reads them: by place, as much as is there. */

import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { StackError } from "../errors.js";
import type { Digest } from "./model/contents.js";
import type { ByteSource } from "./model/log.js";

export interface OpenSource extends ByteSource {
  readonly path: string;
  close(): void;
}

/** A block device says its length only where it ends. */
function endOf(fd: number): number {
  const stat = fstatSync(fd);
  if (!stat.isBlockDevice()) return stat.size;
  let [low, high] = [0, 2 ** 52];
  const byte = new Uint8Array(1);
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (readSync(fd, byte, 0, 1, middle) === 1) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @throws StackError log-unusable when it cannot be opened or is no file or block device */
export function openSource(path: string, what: string): OpenSource {
  try {
    const fd = openSync(path, "r");
    const stat = fstatSync(fd);
    if (!stat.isFile() && !stat.isBlockDevice()) {
      closeSync(fd);
      throw new Error("it is neither a file nor a block device");
    }
    return {
      path,
      size: endOf(fd),
      read(offset, length) {
        const bytes = new Uint8Array(length);
        let done = 0;
        while (done < length) {
          const got = readSync(fd, bytes, done, length - done, offset + done);
          if (got === 0) break;
          done += got;
        }
        return bytes.subarray(0, done);
      },
      close: () => closeSync(fd),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StackError(
      "log-unusable",
      `cannot read the ${what} ${path}: ${reason}`,
      { path },
      { cause: error },
    );
  }
}

/** MD5 is broken for those who mean ill, and nobody hides a state from his own exploration; it is fast. */
export const digestSector: Digest = (sector) => createHash("md5").update(sector).digest("binary");
