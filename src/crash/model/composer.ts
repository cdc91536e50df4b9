/**
 * What every place of the disk holds in a state, as content numbers, and a key that is the same for states of the
 * same content and differs otherwise.
 *
 *   durable   at the beginning of the epoch: all epochs before it, applied
 *   now       in the state: durable, and of the epoch's ops those that are on disk
 *   key       the sum, without carries, of a hash of (sector, digest) over all places that differ from `initial`
 *
 * Going from state to state touches the places of one epoch only; so does the key.
 */

import { ZEROS } from "./contents.js";
import type { Epoch, History, Op } from "./history.js";
import type { State } from "./state.js";

/** Places from begin up to but without end. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

function spansOf(history: History, epoch: Epoch): Span[] {
  const spans: { begin: number; end: number }[] = [];
  const ops = history.ops.slice(epoch.begin, epoch.end).sort((a, b) => a.first - b.first);
  for (const { first, count } of ops) {
    const last = spans.at(-1);
    if (last !== undefined && first <= last.end) last.end = Math.max(last.end, first + count);
    else if (count > 0) spans.push({ begin: first, end: first + count });
  }
  return spans;
}

function place(op: Op, into: Int32Array): void {
  if (op.contents === null) into.fill(ZEROS, op.first, op.first + op.count);
  else into.set(op.contents, op.first);
}

/** Mixes what differs in a few bits into what differs in half of them. */
const stir = (value: number): number => {
  let x = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
};

const LANES = 4;
const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");

export class Composer {
  readonly #history: History;
  readonly #durable: Int32Array;
  readonly #now: Int32Array;
  /** Of what is durable. */
  readonly #key = new Int32Array(LANES);
  #epoch = -1;
  #spans: readonly Span[] = [];

  constructor(history: History) {
    this.#history = history;
    this.#durable = history.initial.slice();
    this.#now = history.initial.slice();
  }

  /** Content numbers by place, of the state that was composed last; valid until the next. */
  get now(): Int32Array {
    return this.#now;
  }

  /** The places that states of the present epoch may differ in. */
  get spans(): readonly Span[] {
    return this.#spans;
  }

  /** Makes `now` the content of a state. @returns the key of that content */
  compose(state: State): string {
    if (state.epoch !== this.#epoch) this.#seek(state.epoch);
    const { ops, epochs } = this.#history;
    for (const { begin, end } of this.#spans) this.#now.set(this.#durable.subarray(begin, end), begin);
    const missing = new Set(state.missing);
    for (let number = epochs[state.epoch]?.begin ?? ops.length; number <= state.last; number++) {
      const op = ops[number];
      if (op === undefined || missing.has(number)) continue;
      if (state.tear?.op === number) this.#tear(op, state.tear.kept);
      else place(op, this.#now);
    }
    const key = this.#key.slice();
    for (const { begin, end } of this.#spans) {
      for (let at = begin; at < end; at++)
        this.#exchange(key, at, this.#durable[at] ?? 0, this.#now[at] ?? 0);
    }
    return Array.from(key, hex).join("");
  }

  #tear(op: Op, kept: readonly number[]): void {
    for (const sector of kept) this.#now[op.first + sector] = op.contents?.[sector] ?? ZEROS;
  }

  #seek(epoch: number): void {
    const { ops, epochs, initial } = this.#history;
    if (epoch < this.#epoch || this.#epoch < 0) {
      this.#durable.set(initial);
      this.#now.set(initial);
      this.#key.fill(0);
      this.#epoch = 0;
    }
    for (; this.#epoch < epoch; this.#epoch++) {
      const passed = epochs[this.#epoch];
      if (passed === undefined) throw new RangeError(`no epoch ${epoch}`);
      const spans = spansOf(this.#history, passed);
      for (const { begin, end } of spans) this.#now.set(this.#durable.subarray(begin, end), begin);
      for (let number = passed.begin; number < passed.end; number++) place(ops[number] as Op, this.#now);
      for (const { begin, end } of spans) {
        for (let at = begin; at < end; at++) {
          this.#exchange(this.#key, at, this.#durable[at] ?? 0, this.#now[at] ?? 0);
        }
        this.#durable.set(this.#now.subarray(begin, end), begin);
      }
    }
    this.#spans = spansOf(this.#history, epochs[epoch] ?? { begin: 0, end: 0 });
  }

  /** A place gives up one content for another. */
  #exchange(key: Int32Array, at: number, before: number, after: number): void {
    if (before === after) return;
    for (let lane = 0; lane < LANES; lane++) {
      const salt = Math.imul(lane + 1, 0x9e3779b9);
      const where = stir(at ^ salt);
      key[lane] = (key[lane] ?? 0) ^ stir(where + stir(before + salt)) ^ stir(where + stir(after + salt));
    }
  }
}
