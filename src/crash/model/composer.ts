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
const text = (key: Int32Array) => Array.from(key, hex).join("");

/** A place gives up one content for another. */
function exchange(key: Int32Array, at: number, before: number, after: number): void {
  if (before === after) return;
  for (let lane = 0; lane < LANES; lane++) {
    const salt = Math.imul(lane + 1, 0x9e3779b9);
    const where = stir(at ^ salt);
    key[lane] = (key[lane] ?? 0) ^ stir(where + stir(before + salt)) ^ stir(where + stir(after + salt));
  }
}

export class Composer {
  readonly #history: History;
  readonly #durable: Int32Array;
  readonly #now: Int32Array;
  /** Of what is durable. */
  readonly #durableKey = new Int32Array(LANES);
  /** Of the prefix that `now` holds, the torn op left out. */
  readonly #key = new Int32Array(LANES);
  #epoch = -1;
  /** The last op of the prefix that `now` holds; null when it holds something else. */
  #prefix: number | null = null;
  #torn: Op | null = null;
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
    const { missing, tear, last } = state;
    if (missing.length > 0 || (tear !== null && tear.op !== last)) return this.#composeAny(state);
    this.#advance(tear === null ? last : last - 1);
    if (tear === null) return text(this.#key);
    const op = this.#history.ops[last] as Op;
    const key = this.#key.slice();
    for (const i of this.#keptPlaces(tear.kept)) {
      exchange(key, op.first + i, this.#now[op.first + i] ?? ZEROS, op.contents?.[i] ?? ZEROS);
    }
    this.#saved = this.#now.slice(op.first, op.first + op.count);
    this.#tear(op, tear.kept);
    this.#torn = op;
    return text(key);
  }

  /** What a torn op lies over. */
  #saved = new Int32Array(0);

  /** Makes `now` a prefix of the epoch: most states are one op further than the one before. */
  #advance(last: number): void {
    if (this.#torn !== null) this.#now.set(this.#saved, this.#torn.first);
    this.#torn = null;
    if (this.#prefix === null || this.#prefix > last) this.#restart();
    for (let number = (this.#prefix as number) + 1; number <= last; number++) {
      const op = this.#history.ops[number] as Op;
      for (let i = 0; i < op.count; i++) {
        exchange(this.#key, op.first + i, this.#now[op.first + i] ?? ZEROS, op.contents?.[i] ?? ZEROS);
      }
      place(op, this.#now);
    }
    this.#prefix = last;
  }

  /** Back to the beginning of the epoch. */
  #restart(): void {
    for (const { begin, end } of this.#spans) this.#now.set(this.#durable.subarray(begin, end), begin);
    this.#key.set(this.#durableKey);
    this.#prefix = (this.#history.epochs[this.#epoch]?.begin ?? this.#history.ops.length) - 1;
    this.#torn = null;
  }

  #composeAny(state: State): string {
    this.#restart();
    const missing = new Set(state.missing);
    for (let number = (this.#prefix as number) + 1; number <= state.last; number++) {
      const op = this.#history.ops[number];
      if (op === undefined || missing.has(number)) continue;
      if (state.tear?.op === number) this.#tear(op, state.tear.kept);
      else place(op, this.#now);
    }
    this.#prefix = null;
    const key = this.#key;
    for (const { begin, end } of this.#spans) {
      for (let at = begin; at < end; at++)
        exchange(key, at, this.#durable[at] ?? ZEROS, this.#now[at] ?? ZEROS);
    }
    return text(key);
  }

  /** Places of a torn op, from its first, by the device's sectors that are kept. */
  *#keptPlaces(kept: readonly number[]): Generator<number> {
    const { unit } = this.#history;
    for (const sector of kept) for (let i = 0; i < unit; i++) yield sector * unit + i;
  }

  #tear(op: Op, kept: readonly number[]): void {
    for (const i of this.#keptPlaces(kept)) this.#now[op.first + i] = op.contents?.[i] ?? ZEROS;
  }

  #seek(epoch: number): void {
    const { epochs, initial } = this.#history;
    if (epoch < this.#epoch || this.#epoch < 0) {
      this.#durable.set(initial);
      this.#now.set(initial);
      this.#durableKey.fill(0);
      this.#epoch = 0;
      this.#enter();
    }
    while (this.#epoch < epoch) {
      const passed = epochs[this.#epoch];
      if (passed === undefined) throw new RangeError(`no epoch ${epoch}`);
      this.#advance(passed.end - 1);
      for (const { begin, end } of this.#spans) this.#durable.set(this.#now.subarray(begin, end), begin);
      this.#durableKey.set(this.#key);
      this.#epoch++;
      this.#enter();
    }
  }

  /** The epoch has changed; `now` may hold anything at the places of the one before, but nothing else. */
  #enter(): void {
    this.#spans = spansOf(this.#history, this.#history.epochs[this.#epoch] ?? { begin: 0, end: 0 });
    this.#restart();
  }
}
