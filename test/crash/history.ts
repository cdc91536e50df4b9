/** A history from entries, and the plainest model of what the explorer does: whole disks, copied for each state. */
import { createHash } from "node:crypto";
import { Contents } from "../../src/crash/model/contents.js";
import { buildHistory, type History } from "../../src/crash/model/history.js";
import { parseLog } from "../../src/crash/model/log.js";
import type { State } from "../../src/crash/model/state.js";
import { type Entry, encodeLog, FLAGS, SECTOR, sourceOf } from "./log-writer.js";

export const digest = (sector: Uint8Array) => createHash("sha256").update(sector).digest("base64");

export interface Made {
  history: History;
  entries: readonly Entry[];
  base: Uint8Array;
}

export function historyOf(
  entries: readonly Entry[],
  diskSectors: number,
  options: { base?: Uint8Array; from?: number; unit?: number } = {},
): Made {
  const source = sourceOf(encodeLog(entries, options.unit));
  const diskBytes = diskSectors * SECTOR;
  const base = options.base ?? new Uint8Array(diskBytes);
  const history = buildHistory({
    log: parseLog(source, diskBytes),
    source,
    base: options.base === undefined ? null : sourceOf(options.base),
    contents: new Contents(digest),
    diskBytes,
    fromEntry: options.from ?? 0,
  });
  return { history, entries, base };
}

function apply(disk: Uint8Array, { sector, sectors, flags, data }: Entry, kept?: readonly number[]): void {
  for (let i = 0; i < sectors; i++) {
    if (kept !== undefined && !kept.includes(i)) continue;
    const at = (sector + i) * SECTOR;
    if ((flags & FLAGS.discard) !== 0) disk.fill(0, at, at + SECTOR);
    else if (data !== undefined) disk.set(data.subarray(i * SECTOR, (i + 1) * SECTOR), at);
  }
}

/** The disk in a state, from the entries alone. */
export function naiveDisk({ history, entries, base }: Made, state: State): Uint8Array {
  const disk = base.slice();
  const begin = history.epochs[state.epoch]?.begin ?? 0;
  history.ops.forEach((op, number) => {
    const done = number < begin || (number <= state.last && !state.missing.includes(number));
    const kept = state.tear?.op === number ? state.tear.kept : undefined;
    if (done) apply(disk, entries[op.entry] as Entry, kept);
  });
  return disk;
}

export const diskKey = (disk: Uint8Array) => createHash("sha256").update(disk).digest("base64");

/** Every disk without torn writes that the rules allow, found by trying every set of entries after every entry. */
export function everyDisk({ entries, base }: Made): Set<string> {
  const disks = new Set([diskKey(base)]);
  const durable = base.slice();
  let epoch: Entry[] = [];
  const settle = () => {
    for (const entry of epoch) apply(durable, entry);
    epoch = [];
  };
  const cut = () => {
    for (let mask = 0; mask < 2 ** epoch.length; mask++) {
      const disk = durable.slice();
      const there = epoch.filter((entry, i) => (mask & (1 << i)) !== 0 || (entry.flags & FLAGS.fua) !== 0);
      for (const entry of there) apply(disk, entry);
      disks.add(diskKey(disk));
    }
  };
  for (const entry of entries) {
    if ((entry.flags & FLAGS.flush) !== 0) settle();
    if (entry.sectors > 0) epoch.push(entry);
    cut();
  }
  return disks;
}
