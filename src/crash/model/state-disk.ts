/**
 * The disk of a state as a check sees it, byte for byte, without its being written anywhere: what the log or the base
 * holds is read from there, and what the check writes is kept on top until the next state comes.
 *
 *   written by the check  >  beyond what the check has cut off: zeros  >  the state's content  >  the base
 *
 * It notes which places of the state are read, in the order in which they are first read. What the check itself wrote
 * is not the state's; a sector of which it wrote a part is, for the rest.
 */

import { ZEROS } from "./contents.js";
import { SECTOR_BYTES } from "./log.js";

/** What all states have in common. Plain arrays, so that threads can share them. */
export interface DiskLayout {
  readonly diskBytes: number;
  /** The sector of each place, ascending. */
  readonly sectors: Float64Array;
  /** Of each content: which source has it, and where. */
  readonly sourceOf: Uint8Array;
  readonly offsetOf: Float64Array;
}

/** Fills the bytes from a place of a source, with zeros where it ends. */
export type ReadSource = (offset: number, into: Uint8Array) => void;

export interface StateDiskOptions {
  readonly layout: DiskLayout;
  /** Content numbers by place; whoever changes them calls begin(). */
  readonly now: Int32Array;
  /** Takes the places that are read. */
  readonly order: Int32Array;
  readonly sources: readonly ReadSource[];
  /** What the disk held before the log began. */
  readonly base: ReadSource;
}

const ZERO_SECTOR = new Uint8Array(SECTOR_BYTES);

/** Sectors that can be read in one go. */
interface Run {
  read: ReadSource;
  offset: number;
  begin: number;
  sectors: number;
}

export class StateDisk {
  readonly #options: StateDiskOptions;
  readonly #written = new Map<number, Uint8Array>();
  /** The round in which a place was last read. */
  readonly #round: Uint32Array;
  #thisRound = 0;
  #end = 0;
  /** Sectors from here on are zeros, unless they were written. */
  #cut = 0;
  /** How many places of the state were read. */
  nrRead = 0;

  constructor(options: StateDiskOptions) {
    this.#options = options;
    this.#round = new Uint32Array(options.now.length);
    this.begin();
  }

  /** A new state: nothing is written, nothing is read. */
  begin(): void {
    this.#written.clear();
    this.#end = this.#options.layout.diskBytes;
    this.#cut = this.#end / SECTOR_BYTES;
    this.nrRead = 0;
    if (++this.#thisRound < 2 ** 32) return;
    this.#round.fill(0);
    this.#thisRound = 1;
  }

  get size(): number {
    return this.#end;
  }

  /** @returns how many bytes there were up to the end of the disk */
  read(offset: number, into: Uint8Array): number {
    const length = Math.max(0, Math.min(into.length, this.#end - offset));
    const [first, last] = [Math.floor(offset / SECTOR_BYTES), Math.ceil((offset + length) / SECTOR_BYTES)];
    const bytes = (last - first) * SECTOR_BYTES;
    const skip = offset - first * SECTOR_BYTES;
    if (length === 0) return 0;
    if (bytes === length) {
      this.#load(first, into.subarray(0, length));
    } else {
      const whole = new Uint8Array(bytes);
      this.#load(first, whole);
      into.set(whole.subarray(skip, skip + length));
    }
    return length;
  }

  /** Past the end it grows, as a file does. */
  write(offset: number, data: Uint8Array): void {
    // Not slice(): of a Buffer that is a view, and the server uses its buffer again.
    const copy = new Uint8Array(data);
    for (let done = 0; done < copy.length; ) {
      const sector = Math.floor((offset + done) / SECTOR_BYTES);
      const within = offset + done - sector * SECTOR_BYTES;
      const length = Math.min(SECTOR_BYTES - within, copy.length - done);
      const piece = copy.subarray(done, done + length);
      if (length === SECTOR_BYTES) this.#written.set(sector, piece);
      else this.#change(sector, within, piece);
      done += length;
    }
    this.#end = Math.max(this.#end, offset + data.length);
  }

  /** Zeros, up to the end at most. */
  zero(offset: number, length: number): void {
    const end = Math.min(offset + length, this.#end);
    for (let at = offset; at < end; ) {
      const sector = Math.floor(at / SECTOR_BYTES);
      const within = at - sector * SECTOR_BYTES;
      const piece = Math.min(SECTOR_BYTES - within, end - at);
      if (piece === SECTOR_BYTES) this.#written.set(sector, ZERO_SECTOR);
      else this.#change(sector, within, ZERO_SECTOR.subarray(0, piece));
      at += piece;
    }
  }

  resize(bytes: number): void {
    if (bytes < this.#end) {
      const first = Math.ceil(bytes / SECTOR_BYTES);
      const within = bytes % SECTOR_BYTES;
      if (within > 0) this.#change(first - 1, within, ZERO_SECTOR.subarray(within));
      for (const sector of [...this.#written.keys()]) if (sector >= first) this.#written.delete(sector);
      this.#cut = Math.min(this.#cut, first);
    }
    this.#end = bytes;
  }

  #change(sector: number, within: number, piece: Uint8Array): void {
    const whole = new Uint8Array(SECTOR_BYTES);
    this.#load(sector, whole);
    whole.set(piece, within);
    this.#written.set(sector, whole);
  }

  #load(first: number, into: Uint8Array): void {
    const { layout, now, sources, base } = this.#options;
    const { sectors, sourceOf, offsetOf } = layout;
    const count = into.length / SECTOR_BYTES;
    let place = placeFrom(sectors, first);
    let run: Run | null = null;
    const finish = () => {
      if (run === null) return;
      const begin = run.begin * SECTOR_BYTES;
      run.read(run.offset, into.subarray(begin, begin + run.sectors * SECTOR_BYTES));
      run = null;
    };
    const take = (i: number, read: ReadSource, offset: number) => {
      const follows = run?.read === read && run.offset + run.sectors * SECTOR_BYTES === offset;
      if (run !== null && follows && run.begin + run.sectors === i) run.sectors++;
      else {
        finish();
        run = { read, offset, begin: i, sectors: 1 };
      }
    };
    for (let i = 0; i < count; i++) {
      const sector = first + i;
      const known = sectors[place] === sector;
      const at = known ? place++ : -1;
      const written = this.#written.size > 0 ? this.#written.get(sector) : undefined;
      if (written !== undefined || sector >= this.#cut) {
        into.set(written ?? ZERO_SECTOR, i * SECTOR_BYTES);
      } else if (!known) take(i, base, sector * SECTOR_BYTES);
      else {
        this.#noteRead(at);
        const content = now[at] ?? ZEROS;
        const source = content === ZEROS ? undefined : sources[sourceOf[content] ?? 0];
        if (source === undefined) into.set(ZERO_SECTOR, i * SECTOR_BYTES);
        else take(i, source, offsetOf[content] ?? 0);
      }
    }
    finish();
  }

  #noteRead(place: number): void {
    if (this.#round[place] === this.#thisRound) return;
    this.#round[place] = this.#thisRound;
    this.#options.order[this.nrRead++] = place;
  }
}

/** The first place whose sector is not below this one. */
function placeFrom(sectors: Float64Array, sector: number): number {
  let [low, high] = [0, sectors.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sectors[middle] as number) < sector) low = middle + 1;
    else high = middle;
  }
  return low;
}
