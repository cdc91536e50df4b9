/** What `image map` shows: runs of the guest's disk, in the shape of `qemu-img map`. Pure. */

import type { ImageRun } from "../../native.js";

/** A run as qemu-img prints it. */
export interface MapValue {
  readonly start: number;
  readonly length: number;
  /** 0: this image; 1: what its backing file shows, which is not looked at. */
  readonly depth: 0 | 1;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly compressed: boolean;
  /** Bytes into the image, or into its data file; of what is not present: reserved for it. */
  readonly offset?: number;
}

/** @param backing whether the image has a backing file */
export function mapValue({ start, length, kind, offset }: ImageRun, backing: boolean): MapValue {
  const unallocated = kind === "unallocated";
  const elsewhere = unallocated && backing;
  return {
    start,
    length,
    depth: elsewhere ? 1 : 0,
    present: !unallocated,
    zero: kind === "zeros" || (unallocated && !elsewhere),
    data: kind === "data" || kind === "compressed",
    compressed: kind === "compressed",
    ...(offset === null || elsewhere ? {} : { offset }),
  };
}

function goesOn(before: MapValue, run: MapValue): boolean {
  return (
    before.depth === run.depth &&
    before.present === run.present &&
    before.zero === run.zero &&
    before.data === run.data &&
    before.compressed === run.compressed &&
    (before.offset === undefined ? run.offset === undefined : run.offset === before.offset + before.length)
  );
}

/** Makes one run of several that differ in nothing that is shown; the last one is known to be whole at the end only. */
export class MapJoiner {
  #last: MapValue | null = null;

  /** @returns runs that are whole */
  add(runs: readonly MapValue[]): MapValue[] {
    const whole: MapValue[] = [];
    for (const run of runs) {
      const last = this.#last;
      if (last !== null && goesOn(last, run)) {
        this.#last = { ...last, length: last.length + run.length };
      } else {
        if (last !== null) whole.push(last);
        this.#last = run;
      }
    }
    return whole;
  }

  end(): MapValue[] {
    return this.#last === null ? [] : [this.#last];
  }
}

/** In a word. */
export function kindOf({ depth, present, zero, compressed }: MapValue): string {
  if (depth === 1) return "backing";
  if (!present) return "unallocated";
  if (zero) return "zero";
  return compressed ? "compressed" : "data";
}
