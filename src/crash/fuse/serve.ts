/** One file over FUSE: a request in, its answer out. */

import { constants } from "node:os";
import type { StateDisk } from "../model/state-disk.js";
import {
  answerAttributes,
  answerInit,
  answerStatfs,
  BATCH_FORGET,
  DESTROY,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  FALLOCATE,
  FLUSH,
  FORGET,
  FSYNC,
  GETATTR,
  IN_HEADER_BYTES,
  INIT,
  INTERRUPT,
  MAX_IO_BYTES,
  number64,
  OPEN,
  OPEN_DIRECT_IO,
  OUT_HEADER_BYTES,
  READ,
  RELEASE,
  readHeader,
  SET_MODE,
  SET_OWNER,
  SET_SIZE,
  SETATTR,
  STATFS,
  WRITE,
  writeHeader,
} from "./protocol.js";

const { ENOSYS, EPERM, EINVAL, EFBIG, EOPNOTSUPP } = constants.errno;

/** Disks end far below; a check that asks for more is mistaken. */
const MOST_BYTES = 2 ** 50;
/** A request with its data fits, and so does an answer. */
export const BUFFER_BYTES = MAX_IO_BYTES + 8192;

/** What the answer's body holds: so many bytes; or -errno. */
type Outcome = number;

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

export class FileService {
  readonly #disk: StateDisk;
  readonly #owner: FileOwner;
  readonly #answer = Buffer.alloc(BUFFER_BYTES);
  readonly #body = this.#answer.subarray(OUT_HEADER_BYTES);

  constructor(disk: StateDisk, owner: FileOwner) {
    this.#disk = disk;
    this.#owner = owner;
  }

  /** @returns the answer, valid until the next; null for a request that has none */
  serve(request: Buffer): Buffer | null {
    const { opcode, unique } = readHeader(request);
    if (opcode === FORGET || opcode === BATCH_FORGET || opcode === INTERRUPT) return null;
    const outcome = this.#outcome(opcode, request);
    return this.#finish(unique, outcome);
  }

  refuse(request: Buffer, errno: number): Buffer {
    return this.#finish(readHeader(request).unique, -errno);
  }

  #finish(unique: bigint, outcome: Outcome): Buffer {
    const [error, bytes] = outcome < 0 ? [outcome, 0] : [0, outcome];
    return this.#answer.subarray(0, writeHeader(this.#answer, unique, error, bytes));
  }

  #outcome(opcode: number, request: Buffer): Outcome {
    switch (opcode) {
      case INIT:
        return answerInit(request, this.#body);
      case GETATTR:
        return this.#attributes();
      case SETATTR:
        return this.#set(request);
      case OPEN:
        this.#body.fill(0, 0, 16);
        this.#body.writeUInt32LE(OPEN_DIRECT_IO, 8);
        return 16;
      case READ:
        return this.#read(request);
      case WRITE:
        return this.#write(request);
      case FALLOCATE:
        return this.#allocate(request);
      case STATFS:
        return answerStatfs(this.#body);
      case RELEASE:
      case FSYNC:
      case FLUSH:
      case DESTROY:
        return 0;
      default:
        // The kernel does without, and for most of these it does not ask again.
        return -ENOSYS;
    }
  }

  #attributes(): Outcome {
    return answerAttributes(this.#body, { size: this.#disk.size, ...this.#owner });
  }

  #set(request: Buffer): Outcome {
    const valid = request.readUInt32LE(IN_HEADER_BYTES);
    if ((valid & (SET_MODE | SET_OWNER)) !== 0) return -EPERM;
    if ((valid & SET_SIZE) !== 0) {
      const size = number64(request, IN_HEADER_BYTES + 16);
      if (size > MOST_BYTES) return -EFBIG;
      this.#disk.resize(size);
    }
    return this.#attributes();
  }

  #read(request: Buffer): Outcome {
    const offset = number64(request, IN_HEADER_BYTES + 8);
    const size = request.readUInt32LE(IN_HEADER_BYTES + 16);
    if (size > MAX_IO_BYTES) return -EINVAL;
    return this.#disk.read(offset, this.#body.subarray(0, size));
  }

  #write(request: Buffer): Outcome {
    const offset = number64(request, IN_HEADER_BYTES + 8);
    const size = request.readUInt32LE(IN_HEADER_BYTES + 16);
    if (offset + size > MOST_BYTES) return -EFBIG;
    const begin = IN_HEADER_BYTES + 40;
    this.#disk.write(offset, request.subarray(begin, begin + size));
    this.#body.writeUInt32LE(size, 0);
    this.#body.writeUInt32LE(0, 4);
    return 8;
  }

  #allocate(request: Buffer): Outcome {
    const offset = number64(request, IN_HEADER_BYTES + 8);
    const length = number64(request, IN_HEADER_BYTES + 16);
    const mode = request.readUInt32LE(IN_HEADER_BYTES + 24);
    if (offset + length > MOST_BYTES) return -EFBIG;
    if ((mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) return -EOPNOTSUPP;
    const grows = (mode & FALLOC_KEEP_SIZE) === 0 && offset + length > this.#disk.size;
    if (grows) this.#disk.resize(offset + length);
    if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) this.#disk.zero(offset, length);
    return 0;
  }
}
