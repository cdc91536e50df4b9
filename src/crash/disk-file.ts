/**
 * The rebuilt disk of one job: a sparse file on tmpfs to which only the difference to the state before is written.
 *
 * A check may write to the file (a journal is replayed, a file system mended): that must not reach the next state. The
 * file's time of change is set back before each check, and when the check has moved it, the file is made anew. Making
 * it anew writes what is touched and no more, unless the disk held data before the log began: these are copied.
 */

import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  futimesSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { StackError } from "../errors.js";
import type { Composer } from "./model/composer.js";
import { ZEROS } from "./model/contents.js";
import type { History } from "./model/history.js";
import { SECTOR_BYTES } from "./model/log.js";
import type { RebuiltDisk } from "./rebuilt-disk.js";

/** A run of sectors is written in pieces of at most this. */
const PIECE_SECTORS = 2048;
const ZERO_BYTES = new Uint8Array(PIECE_SECTORS * SECTOR_BYTES);

export class DiskFile implements RebuiltDisk {
  readonly path: string;
  readonly #history: History;
  readonly #base: string | null;
  #fd = -1;
  /** Content numbers by place, as they stand in the file. */
  #held = new Int32Array(0);
  #epoch = -1;
  #blocks = 0;
  /** Bytes written to the file since it was first made. */
  written = 0;

  /** @param base a file with what the disk held before the log began */
  constructor(path: string, history: History, base: string | null) {
    this.path = path;
    this.#history = history;
    this.#base = base;
  }

  /** Makes the file hold what the composer has composed. */
  hold(composer: Composer, epoch: number): void {
    if (this.#fd >= 0 && this.#wasTouched()) this.renew();
    if (this.#fd < 0) this.#create();
    const whole = [{ begin: 0, end: this.#held.length }];
    // Within an epoch only its own places differ; a file that is elsewhere in the log is compared in full.
    const spans = this.#epoch === epoch ? composer.spans : whole;
    for (const span of spans) this.#write(composer.now, span.begin, span.end);
    this.#epoch = epoch;
    futimesSync(this.#fd, 0, 0);
    this.#blocks = fstatSync(this.#fd).blocks;
  }

  /** Ends our part; the file stays. */
  leave(): void {
    const now = new Date();
    futimesSync(this.#fd, now, now);
    closeSync(this.#fd);
    this.#fd = -1;
  }

  /** Who reads a file is not known. */
  reads(): null {
    return null;
  }

  async close(): Promise<void> {
    this.renew();
  }

  renew(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    rmSync(this.path, { force: true });
    this.#fd = -1;
    this.#epoch = -1;
  }

  #wasTouched(): boolean {
    const { mtimeMs, blocks, size, nlink } = fstatSync(this.#fd);
    return mtimeMs !== 0 || blocks !== this.#blocks || size !== this.#history.diskBytes || nlink === 0;
  }

  #create(): void {
    rmSync(this.path, { force: true });
    if (this.#base !== null) copySparse(this.#base, this.path);
    this.#fd = openSync(this.path, constants.O_RDWR | constants.O_CREAT, 0o600);
    ftruncateSync(this.#fd, this.#history.diskBytes);
    this.#held = this.#history.initial.slice();
  }

  #write(now: Int32Array, begin: number, end: number): void {
    const { sectors, contents } = this.#history;
    for (let at = begin; at < end; ) {
      if (this.#held[at] === now[at]) {
        at++;
        continue;
      }
      // As long as sectors follow one another, differ, and their content stands in one piece as well.
      const content = now[at] ?? ZEROS;
      const from = content === ZEROS ? null : contents.place(content);
      let count = 1;
      while (at + count < end && count < PIECE_SECTORS && this.#held[at + count] !== now[at + count]) {
        if (sectors[at + count] !== (sectors[at] ?? 0) + count) break;
        const next = now[at + count] ?? ZEROS;
        if (from === null ? next !== ZEROS : !this.#follows(next, from, count)) break;
        count++;
      }
      const bytes = count * SECTOR_BYTES;
      const data = from === null ? ZERO_BYTES.subarray(0, bytes) : from.source.read(from.offset, bytes);
      this.#put(data, (sectors[at] ?? 0) * SECTOR_BYTES);
      this.#held.set(now.subarray(at, at + count), at);
      at += count;
    }
  }

  #follows(content: number, from: ReturnType<History["contents"]["place"]>, distance: number): boolean {
    if (content === ZEROS) return false;
    const place = this.#history.contents.place(content);
    return place.source === from.source && place.offset === from.offset + distance * SECTOR_BYTES;
  }

  #put(data: Uint8Array, offset: number): void {
    for (let done = 0; done < data.length; ) {
      done += writeSync(this.#fd, data, done, data.length - done, offset + done);
    }
    this.written += data.length;
  }
}

/** Node's own copy fills holes; cp(1) keeps them. */
function copySparse(from: string, to: string): void {
  const { status, stderr } = spawnSync("cp", ["--sparse=always", "--", from, to], { encoding: "utf8" });
  if (status !== 0) throw new StackError("no-space", `cannot copy ${from} to ${to}: ${stderr.trim()}`);
}
