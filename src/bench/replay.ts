/** A log of writes replayed the plain way: a new disk, and every write up to one, in order. */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { type ByteSource, DISCARD, type LogEntry, SECTOR_BYTES } from "../crash/model/log.js";

/** @param entries all that are to be on the disk, none of them a discard of what an earlier one wrote */
export function replayByHand(
  path: string,
  diskBytes: number,
  log: ByteSource,
  entries: readonly LogEntry[],
): void {
  const fd = openSync(path, "w+");
  try {
    ftruncateSync(fd, diskBytes);
    for (const { sector, sectors, flags, dataOffset } of entries) {
      if (sectors === 0 || (flags & DISCARD) !== 0) continue;
      const data = log.read(dataOffset, sectors * SECTOR_BYTES);
      for (let done = 0; done < data.length; ) {
        done += writeSync(fd, data, done, data.length - done, sector * SECTOR_BYTES + done);
      }
    }
  } finally {
    closeSync(fd);
  }
}
