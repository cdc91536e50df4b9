/**
 * A small tool that makes images, and one that forgets a flush.
 *
 *   sector 0      [ "IMAGE" | number of blocks | checksum of the table ]      written last: it makes the image valid
 *   sector 1..2   the table: where each block is, and its checksum
 *   from 8 on     the blocks, one sector each
 *
 *   node image.mjs make FILE          data and table, flush, header, flush
 *   node image.mjs make-hasty FILE    the same without the first flush
 *   node image.mjs check FILE         a valid header must lead to a valid table and valid blocks
 */
import { createHash } from "node:crypto";
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";

const SECTOR = 512;
const BLOCKS = 6;
const sum = (bytes) => createHash("sha256").update(bytes).digest().subarray(0, 8);

const block = (number) => Buffer.alloc(SECTOR, `block ${number} `);

function table() {
  const bytes = Buffer.alloc(2 * SECTOR);
  for (let number = 0; number < BLOCKS; number++) {
    bytes.writeUInt32LE(8 + number, number * 16);
    sum(block(number)).copy(bytes, number * 16 + 8);
  }
  return bytes;
}

/** @param disk { write(offset, bytes), flush() } */
export function makeImage(disk, { hasty }) {
  for (let number = 0; number < BLOCKS; number++) disk.write((8 + number) * SECTOR, block(number));
  disk.write(SECTOR, table());
  if (!hasty) disk.flush();
  const header = Buffer.alloc(SECTOR);
  header.write("IMAGE");
  header.writeUInt32LE(BLOCKS, 8);
  sum(table()).copy(header, 16);
  disk.write(0, header);
  disk.flush();
}

/** @returns what is wrong, or null */
export function checkImage(read) {
  const header = read(0, SECTOR);
  if (header.toString("latin1", 0, 5) !== "IMAGE") return null;
  const entries = read(SECTOR, 2 * SECTOR);
  if (!sum(entries).equals(header.subarray(16, 24))) return "the table is not the one that the header means";
  for (let number = 0; number < header.readUInt32LE(8); number++) {
    const content = read(entries.readUInt32LE(number * 16) * SECTOR, SECTOR);
    if (!sum(content).equals(entries.subarray(number * 16 + 8, number * 16 + 16)))
      return `block ${number} is lost`;
  }
  return null;
}

/** A file as makeImage and checkImage know a disk. */
export function fileDisk(path, flags) {
  const fd = openSync(path, flags);
  return {
    write: (offset, bytes) => writeSync(fd, bytes, 0, bytes.length, offset),
    flush: () => fsyncSync(fd),
    read(offset, length) {
      const bytes = Buffer.alloc(length);
      readSync(fd, bytes, 0, length, offset);
      return bytes;
    },
    close: () => closeSync(fd),
  };
}

/** @returns the exit status */
export function main(make, check, [verb, path]) {
  const disk = fileDisk(path, verb === "check" ? "r" : "r+");
  const wrong = verb === "check" ? check(disk.read) : make(disk, { hasty: verb === "make-hasty" });
  disk.close();
  if (typeof wrong === "string") console.log(wrong);
  return typeof wrong === "string" ? 1 : 0;
}

if (process.argv[1] === import.meta.filename)
  process.exitCode = main(makeImage, checkImage, process.argv.slice(2));
