/** The kernel's FUSE protocol, version 7, as much as a single file needs (linux/fuse.h). Numbers are the machine's own. */

export const MAJOR = 7;
/** Of this minor version are the answers; older kernels than Linux 5.4 are spoken to in the same way. */
export const MINOR = 31;
/** The mount's only file. */
export const ROOT = 1n;

export const FORGET = 2;
export const GETATTR = 3;
export const SETATTR = 4;
export const OPEN = 14;
export const READ = 15;
export const WRITE = 16;
export const STATFS = 17;
export const RELEASE = 18;
export const FSYNC = 20;
export const FLUSH = 25;
export const INIT = 26;
export const INTERRUPT = 36;
export const DESTROY = 38;
export const BATCH_FORGET = 42;
export const FALLOCATE = 43;

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;
const INIT_OUT_BYTES = 64;
const ATTR_OUT_BYTES = 104;

const BIG_WRITES = 1 << 5;
const MAX_PAGES = 1 << 22;
const INIT_EXT = 1 << 30;
/** In the second word of flags: a shared mapping is allowed in spite of direct IO (Linux 6.6). */
const DIRECT_IO_ALLOW_MMAP = 1 << 4;
/** Nothing is kept in the page cache: what a process reads, it asks us for. */
export const OPEN_DIRECT_IO = 1;

export const SET_MODE = 1;
export const SET_OWNER = 2 | 4;
export const SET_SIZE = 8;

export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_ZERO_RANGE = 16;

const PAGE_BYTES = 4096;
/** The largest read or write. */
export const MAX_IO_BYTES = 1 << 20;

export interface Header {
  readonly opcode: number;
  readonly unique: bigint;
}

export const readHeader = (request: Buffer): Header => ({
  opcode: request.readUInt32LE(4),
  unique: request.readBigUInt64LE(8),
});

/** A safe number: offsets of files are below 2^63, those of disks far below 2^53. */
export const number64 = (buffer: Buffer, at: number) => Number(buffer.readBigUInt64LE(at));

export function writeHeader(answer: Buffer, unique: bigint, error: number, bodyBytes: number): number {
  const length = OUT_HEADER_BYTES + bodyBytes;
  answer.writeUInt32LE(length, 0);
  answer.writeInt32LE(error, 4);
  answer.writeBigUInt64LE(unique, 8);
  return length;
}

/** @param body of the request and of the answer @returns how long the answer is */
export function answerInit(request: Buffer, body: Buffer): number {
  const offered = request.readUInt32LE(IN_HEADER_BYTES + 12);
  const more = (offered & INIT_EXT) !== 0;
  const flags = offered & (BIG_WRITES | MAX_PAGES | INIT_EXT);
  body.fill(0, 0, INIT_OUT_BYTES);
  body.writeUInt32LE(MAJOR, 0);
  body.writeUInt32LE(MINOR, 4);
  // No readahead: mappings alone have pages, and nothing that was not asked for is to count as read.
  body.writeUInt32LE(0, 8);
  body.writeUInt32LE(flags, 12);
  body.writeUInt32LE(MAX_IO_BYTES, 20);
  body.writeUInt32LE(1, 24);
  body.writeUInt16LE(MAX_IO_BYTES / PAGE_BYTES, 28);
  body.writeUInt32LE(more ? DIRECT_IO_ALLOW_MMAP : 0, 32);
  return INIT_OUT_BYTES;
}

const S_IFREG = 0o100000;

/** What stat shows. Times and blocks are the same in all states: what a check sees of them tells it nothing. */
export function answerAttributes(
  body: Buffer,
  { size, uid, gid }: { size: number; uid: number; gid: number },
): number {
  body.fill(0, 0, ATTR_OUT_BYTES);
  const attributes = 16;
  body.writeBigUInt64LE(ROOT, attributes);
  body.writeBigUInt64LE(BigInt(size), attributes + 8);
  body.writeBigUInt64LE(BigInt(Math.ceil(size / 512)), attributes + 16);
  body.writeUInt32LE(S_IFREG | 0o600, attributes + 60);
  body.writeUInt32LE(1, attributes + 64);
  body.writeUInt32LE(uid, attributes + 68);
  body.writeUInt32LE(gid, attributes + 72);
  body.writeUInt32LE(PAGE_BYTES, attributes + 80);
  return ATTR_OUT_BYTES;
}

export function answerStatfs(body: Buffer): number {
  body.fill(0, 0, 80);
  body.writeUInt32LE(PAGE_BYTES, 40);
  body.writeUInt32LE(255, 44);
  body.writeUInt32LE(PAGE_BYTES, 48);
  return 80;
}
