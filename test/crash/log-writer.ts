/** Logs as device mapper's log-writes target writes them, made in memory, and a disk whose writes become such a log. */
import type { ByteSource } from "../../src/crash/model/log.js";

export const FLAGS = { flush: 1, fua: 2, discard: 4, mark: 8, metadata: 16 };

export interface Entry {
  sector: number;
  sectors: number;
  flags: number;
  data?: Uint8Array;
  mark?: string;
}

function header(numbers: readonly (number | bigint)[], unit: number): Buffer {
  const bytes = Buffer.alloc(unit);
  for (const [at, number] of numbers.entries()) bytes.writeBigUInt64LE(BigInt(number), 8 * at);
  return bytes;
}

/** @param unit the sector size of the logged device: entries count in it */
export function encodeLog(entries: readonly Entry[], unit = 512, promised = entries.length): Buffer {
  const superblock = header([0x6a736677736872n, 1, promised], unit);
  superblock.writeUInt32LE(unit, 24);
  const parts = entries.flatMap(({ sector, sectors, flags, data, mark = "" }) => {
    const text = Buffer.from(mark);
    const entry = header([sector, sectors, flags, text.length], unit);
    text.copy(entry, 32);
    return data === undefined ? [entry] : [entry, data];
  });
  return Buffer.concat([superblock, ...parts]);
}

export const sourceOf = (bytes: Uint8Array): ByteSource => ({
  size: bytes.length,
  read: (offset, length) =>
    bytes.subarray(Math.min(offset, bytes.length), Math.min(offset + length, bytes.length)),
});

export const SECTOR = 512;

/** So many sectors that hold nothing but this byte. */
export const sectors = (count: number, value: number) => new Uint8Array(count * SECTOR).fill(value);

export const write = (sector: number, count: number, value: number, flags = 0): Entry => ({
  sector,
  sectors: count,
  flags,
  data: sectors(count, value),
});
export const flush: Entry = { sector: 0, sectors: 0, flags: FLAGS.flush };
export const discard = (sector: number, count: number): Entry => ({
  sector,
  sectors: count,
  flags: FLAGS.discard,
});
export const mark = (text: string): Entry => ({ sector: 0, sectors: 0, flags: FLAGS.mark, mark: text });
