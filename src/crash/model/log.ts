/**
 * The log of writes in the format of device mapper's log-writes target, version 1, read with distrust.
 *
 *   sector 0          [ magic | version | entries | sector size ]
 *   then, each entry  [ sector | sectors | flags | data length | a mark's text ]  one sector
 *                     [ the data that were written ]                              none for discards and marks
 *
 * All numbers are little-endian; sectors are of the size that the first sector says, here they become 512-byte ones.
 * Entries stand in the order of completion; a plain write is logged by the flush that came after its completion.
 * A log that was cut short, or that holds nonsense, is used up to the last entry that is whole, and says so.
 */

import { StackError } from "../../errors.js";

export const SECTOR_BYTES = 512;
const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const HEADER_BYTES = 32;

export const FLUSH = 1;
export const FUA = 2;
export const DISCARD = 4;
export const MARK = 8;
export const METADATA = 16;
const KNOWN = FLUSH | FUA | DISCARD | MARK | METADATA;

/** Bytes that can be read at any place; a read past the end is short. */
export interface ByteSource {
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
}

export interface LogEntry {
  /** Its place in the log, from 0. */
  readonly index: number;
  /** In sectors of 512 bytes. */
  readonly sector: number;
  readonly sectors: number;
  readonly flags: number;
  /** Where its data begin in the log. */
  readonly dataOffset: number;
  /** The text of a mark. */
  readonly mark: string | null;
}

export interface Log {
  /** The logged device's own sectors, in sectors of 512 bytes: it writes them whole or not at all. */
  readonly unitSectors: number;
  readonly entries: readonly LogEntry[];
  /** How many entries the log says that it has. */
  readonly promised: number;
  /** Why the log is used only up to `entries.length`; null when it is used to its end. */
  readonly cut: string | null;
}

/** An entry that cannot be used, as text for people. */
class Broken extends Error {}

function refuse(message: string): never {
  throw new StackError("log-unusable", message);
}

const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function readSuper(source: ByteSource): { promised: number; unit: number } {
  const bytes = source.read(0, SECTOR_BYTES);
  if (bytes.length < HEADER_BYTES) refuse("the log is too short to hold its first sector");
  const header = view(bytes);
  if (header.getBigUint64(0, true) !== MAGIC) {
    refuse("the log does not begin as device mapper's log-writes format does");
  }
  const version = header.getBigUint64(8, true);
  if (version !== VERSION) refuse(`the log is of version ${version}; only version 1 is known`);
  const unit = header.getUint32(24, true);
  if (unit < SECTOR_BYTES || unit > 65536 || (unit & (unit - 1)) !== 0) {
    refuse(`the log's sector size is ${unit}; it must be a power of two from 512 to 65536`);
  }
  const promised = header.getBigUint64(16, true);
  // Each entry has a sector at least, so that a larger number cannot be true and need not be exact.
  return { promised: Number(promised), unit };
}

function number(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Broken(`its ${what} is ${value}`);
  return Number(value);
}

function readEntry(
  source: ByteSource,
  at: { offset: number; index: number },
  unit: number,
  diskBytes: number,
): { entry: LogEntry; next: number } {
  const bytes = source.read(at.offset, unit);
  if (bytes.length < unit) throw new Broken("it is cut short");
  const header = view(bytes);
  const first = number(header.getBigUint64(0, true), "sector");
  const count = number(header.getBigUint64(8, true), "length");
  const flags = number(header.getBigUint64(16, true), "flags");
  const length = number(header.getBigUint64(24, true), "data length");
  const dataOffset = at.offset + unit;
  const bad = flags > KNOWN ? flags : flags & ~KNOWN;
  if (bad !== 0) throw new Broken(`its flags are 0x${flags.toString(16)}`);

  if ((flags & MARK) !== 0) {
    if (count !== 0) throw new Broken("it is a mark and says that data follow");
    if (length > unit - HEADER_BYTES) throw new Broken(`its mark has ${length} bytes`);
    const text = new TextDecoder().decode(bytes.subarray(HEADER_BYTES, HEADER_BYTES + length));
    const entry = { index: at.index, sector: 0, sectors: 0, flags, dataOffset, mark: text };
    return { entry, next: dataOffset };
  }

  if (count === 0 && (flags & FLUSH) === 0) throw new Broken("it neither writes nor flushes");
  const [begin, bytesWritten] = [first * unit, count * unit];
  if (count > 0 && begin + bytesWritten > diskBytes) {
    throw new Broken(`it writes up to byte ${begin + bytesWritten} of a disk of ${diskBytes}`);
  }
  const dataBytes = (flags & DISCARD) !== 0 ? 0 : bytesWritten;
  if (dataOffset + dataBytes > source.size) throw new Broken("its data are cut short");
  const scale = unit / SECTOR_BYTES;
  const entry = {
    index: at.index,
    sector: count === 0 ? 0 : first * scale,
    sectors: count * scale,
    flags,
    dataOffset,
    mark: null,
  };
  return { entry, next: dataOffset + dataBytes };
}

/**
 * @param diskBytes how large the disk is that was written to; an entry beyond it is nonsense
 * @throws StackError log-unusable when this is no such log at all
 */
export function parseLog(source: ByteSource, diskBytes: number): Log {
  const { promised, unit } = readSuper(source);
  const entries: LogEntry[] = [];
  const unitSectors = unit / SECTOR_BYTES;
  let offset = unit;
  while (entries.length < promised) {
    try {
      const { entry, next } = readEntry(source, { offset, index: entries.length }, unit, diskBytes);
      entries.push(entry);
      offset = next;
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      const cut = `entry ${entries.length} of ${promised} cannot be used: ${error.message}`;
      return { entries, promised, unitSectors, cut };
    }
  }
  return { entries, promised, unitSectors, cut: null };
}

/** The entry after the last mark of this text, or null when the log has none. */
export function afterMark(log: Log, mark: string): number | null {
  const found = log.entries.findLast((entry) => entry.mark === mark);
  return found === undefined ? null : found.index + 1;
}
