/**
 * Tables of images that a killed server had not written yet, in the run folder: its successor goes on with them. Whoever
 * changes the image in between makes them wrong (native/targets/qcow2/slice_store.h: the file's head says whose they are).
 */

import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Paths, resolvePaths } from "./paths.js";

export interface KeptTables {
  readonly stack: string;
  readonly layer: string;
}

const HEAD_BYTES = 4096;
const FILE = /^qcow2-(.+)$/;

const listed = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

function headOf(path: string): string {
  const head = Buffer.alloc(HEAD_BYTES);
  let fd = -1;
  try {
    fd = openSync(path, "r");
    return head.toString("latin1", 0, readSync(fd, head));
  } catch {
    return ""; // gone meanwhile
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** Of this image, by the identity that its leaf has. */
export function keptTables(image: string, paths: Paths = resolvePaths()): KeptTables[] {
  const { ino } = statSync(image, { throwIfNoEntry: false }) ?? {};
  if (ino === undefined) return [];
  const mine = new RegExp(`\\bfile:${ino}(?![0-9])`);
  const stacks = join(paths.runDir, "stacks");
  return listed(stacks).flatMap((stack) =>
    listed(join(stacks, stack)).flatMap((device) =>
      listed(join(stacks, stack, device)).flatMap((name) => {
        const layer = FILE.exec(name)?.[1];
        if (layer === undefined || !mine.test(headOf(join(stacks, stack, device, name)))) return [];
        return [{ stack, layer }];
      }),
    ),
  );
}
