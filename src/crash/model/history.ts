/**
 * A log as the explorer works with it: what was done to which sectors, and between which flushes.
 *
 *   log      w0  w1  FLUSH  w2  w3*  w4  FLUSH  w5         * forced unit access
 *   ops      0   1          2   3    4          5
 *   epochs   [ 0, 1 ]       [ 2, 3, 4 ]         [ 5 ]
 *
 * Invariants: what stands in an epoch before the present one is durable, all of it. Within an epoch any of the writes
 * up to the crash may be missing, but none with forced unit access: that was durable when it completed.
 *
 * Only sectors that anything touches have a place here; the others keep what they hold. Places are in the order of the
 * disk, so that each op covers a range of places without gaps.
 */

import type { Contents } from "./contents.js";
import { type ByteSource, DISCARD, FLUSH, FUA, type Log, type LogEntry, SECTOR_BYTES } from "./log.js";

export interface Op {
  /** Its entry in the log. */
  readonly entry: number;
  readonly kind: "write" | "discard";
  readonly fua: boolean;
  /** Places: the first, and how many. */
  readonly first: number;
  readonly count: number;
  /** What a write leaves in each; a discard leaves zeros. */
  readonly contents: Int32Array | null;
}

/** Ops from begin up to but without end. */
export interface Epoch {
  readonly begin: number;
  readonly end: number;
}

export interface History {
  readonly ops: readonly Op[];
  readonly epochs: readonly Epoch[];
  /** Exploration begins with this op; everything before is taken as durable. */
  readonly from: number;
  /** The sector of each place, ascending. */
  readonly sectors: Float64Array;
  /** What each place held before the log began. */
  readonly initial: Int32Array;
  readonly contents: Contents;
  readonly diskBytes: number;
  /** Places of a sector of the logged device: a write is torn between these. */
  readonly unit: number;
}

const PIECE_BYTES = 1 << 20;

interface Extent {
  begin: number;
  end: number;
}

/** Sorted, without overlap. */
function merge(extents: Extent[]): Extent[] {
  const merged: Extent[] = [];
  for (const { begin, end } of extents.sort((a, b) => a.begin - b.begin)) {
    const last = merged.at(-1);
    if (last !== undefined && begin <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ begin, end });
  }
  return merged;
}

/** Sectors of the extents in which a source is not zero: a discard changes no others. */
function dataIn(source: ByteSource, extents: readonly Extent[]): Extent[] {
  const found: Extent[] = [];
  for (const { begin, end } of extents) {
    const last = Math.min(end * SECTOR_BYTES, source.size);
    for (let at = begin * SECTOR_BYTES; at < last; at += PIECE_BYTES) {
      const piece = source.read(at, Math.min(PIECE_BYTES, last - at));
      for (let i = 0; i < piece.length; i += SECTOR_BYTES) {
        if (piece.subarray(i, i + SECTOR_BYTES).every((byte) => byte === 0)) continue;
        const sector = (at + i) / SECTOR_BYTES;
        const previous = found.at(-1);
        if (previous?.end === sector) previous.end++;
        else found.push({ begin: sector, end: sector + 1 });
      }
    }
  }
  return found;
}

const isWrite = ({ sectors, flags }: LogEntry) => sectors > 0 && (flags & DISCARD) === 0;
const isDiscard = ({ sectors, flags }: LogEntry) => sectors > 0 && (flags & DISCARD) !== 0;
const extentOf = ({ sector, sectors }: LogEntry): Extent => ({ begin: sector, end: sector + sectors });

function touchedSectors(log: Log, base: ByteSource | null): Float64Array {
  const written = log.entries.filter(isWrite).map(extentOf);
  const discarded = merge(log.entries.filter(isDiscard).map(extentOf));
  const touched = merge([...written, ...(base === null ? [] : dataIn(base, discarded))]);
  const sectors = new Float64Array(touched.reduce((sum, { begin, end }) => sum + end - begin, 0));
  let place = 0;
  for (const { begin, end } of touched) for (let at = begin; at < end; at++) sectors[place++] = at;
  return sectors;
}

/** The first place whose sector is not below this one. */
function placeOf(sectors: Float64Array, sector: number): number {
  let [low, high] = [0, sectors.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sectors[middle] ?? 0) < sector) low = middle + 1;
    else high = middle;
  }
  return low;
}

function initialContents(sectors: Float64Array, base: ByteSource | null, contents: Contents): Int32Array {
  const initial = new Int32Array(sectors.length);
  if (base === null) return initial;
  for (let begin = 0; begin < sectors.length; ) {
    let end = begin + 1;
    while (end < sectors.length && sectors[end] === (sectors[end - 1] ?? 0) + 1) end++;
    initial.set(contents.read(base, (sectors[begin] ?? 0) * SECTOR_BYTES, end - begin), begin);
    begin = end;
  }
  return initial;
}

export interface HistoryInput {
  readonly log: Log;
  /** The bytes of the log itself. */
  readonly source: ByteSource;
  /** The disk as it was before the log began; null for one that was zero everywhere. */
  readonly base: ByteSource | null;
  readonly contents: Contents;
  readonly diskBytes: number;
  /** The first entry whose crash states are of interest. */
  readonly fromEntry: number;
}

export function buildHistory(input: HistoryInput): History {
  const { log, source, base, contents, diskBytes, fromEntry } = input;
  const sectors = touchedSectors(log, base);
  const initial = initialContents(sectors, base, contents);
  const ops: Op[] = [];
  const epochs: Epoch[] = [];
  let begin = 0;
  let from = 0;
  const close = () => {
    if (ops.length > begin) epochs.push({ begin, end: ops.length });
    begin = ops.length;
  };
  for (const entry of log.entries) {
    // A flush that carries data flushes before it writes.
    if ((entry.flags & FLUSH) !== 0) close();
    if (isWrite(entry) || isDiscard(entry)) {
      const first = placeOf(sectors, entry.sector);
      const count = placeOf(sectors, entry.sector + entry.sectors) - first;
      ops.push({
        entry: entry.index,
        kind: isWrite(entry) ? "write" : "discard",
        fua: (entry.flags & FUA) !== 0,
        first,
        count,
        contents: isWrite(entry) ? contents.read(source, entry.dataOffset, count) : null,
      });
    }
    // What the mark before `fromEntry` found is the ground on which the rest stands.
    if (entry.index < fromEntry) from = ops.length;
    if (entry.index === fromEntry - 1) close();
  }
  close();
  return { ops, epochs, from, sectors, initial, contents, diskBytes, unit: log.unitSectors };
}
