/**
 * What sectors hold, each content known by a small number: equal sectors have equal numbers, zeros are number 0, and
 * a number leads to the place in the log (or in the disk as it was before) where those 512 bytes can be read.
 */

import { type ByteSource, SECTOR_BYTES } from "./log.js";

/** A digest of a sector in which two different sectors never meet, as text. */
export type Digest = (sector: Uint8Array) => string;

export const ZEROS = 0;
const INITIAL = 1024;
const PIECE_SECTORS = 2048;

function isZero(sector: Uint8Array): boolean {
  // The length is that of a sector; most differ from zero at once.
  for (let i = 0; i < sector.length; i++) if (sector[i] !== 0) return false;
  return true;
}

export class Contents {
  readonly #digest: Digest;
  readonly #known = new Map<string, number>();
  readonly #sources: ByteSource[] = [];
  #source = new Uint8Array(INITIAL);
  #offset = new Float64Array(INITIAL);
  #count = 1;

  constructor(digest: Digest) {
    this.#digest = digest;
  }

  /** How many different contents there are, zeros included. */
  get count(): number {
    return this.#count;
  }

  /** The numbers of so many sectors of a source, from a byte of it on; what is past its end is zero. */
  read(source: ByteSource, offset: number, sectors: number): Int32Array {
    const numbers = new Int32Array(sectors);
    for (let done = 0; done < sectors; done += PIECE_SECTORS) {
      const begin = offset + done * SECTOR_BYTES;
      const piece = source.read(begin, Math.min(sectors - done, PIECE_SECTORS) * SECTOR_BYTES);
      const whole = Math.floor(piece.length / SECTOR_BYTES);
      for (let i = 0; i < whole; i++) {
        const sector = piece.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
        numbers[done + i] = this.#number(sector, source, begin + i * SECTOR_BYTES);
      }
    }
    return numbers;
  }

  /** Where a content stands; never asked of zeros. */
  place(content: number): { source: ByteSource; offset: number } {
    const source = this.#sources[this.#source[content] ?? 0];
    if (source === undefined || content <= ZEROS || content >= this.#count) {
      throw new RangeError(`no content ${content}`);
    }
    return { source, offset: this.#offset[content] ?? 0 };
  }

  /** The same for all contents at once: which source, where in it. */
  table(): { sources: readonly ByteSource[]; sourceOf: Uint8Array; offsetOf: Float64Array } {
    const [sourceOf, offsetOf] = [this.#source.slice(0, this.#count), this.#offset.slice(0, this.#count)];
    return { sources: this.#sources, sourceOf, offsetOf };
  }

  #number(sector: Uint8Array, source: ByteSource, offset: number): number {
    if (isZero(sector)) return ZEROS;
    const digest = this.#digest(sector);
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const content = this.#count++;
    if (content === this.#source.length) this.#grow();
    this.#known.set(digest, content);
    this.#source[content] = this.#sourceNumber(source);
    this.#offset[content] = offset;
    return content;
  }

  #sourceNumber(source: ByteSource): number {
    const at = this.#sources.indexOf(source);
    return at >= 0 ? at : this.#sources.push(source) - 1;
  }

  #grow(): void {
    const [source, offset] = [new Uint8Array(this.#count * 2), new Float64Array(this.#count * 2)];
    source.set(this.#source);
    offset.set(this.#offset);
    this.#source = source;
    this.#offset = offset;
  }
}
