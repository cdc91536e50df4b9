/**
 * Which states are explored, in an order that is the same for the same log and numbers.
 *
 * Of each interval between two flushes: every prefix, the last write of each prefix torn in some ways, and the subsets
 * of its writes, all of them if there are no more than `subsets`, else a sample. A sample holds the likely first: a
 * write that overtook the one before it, a write that all others overtook, a write that overtook all; then what chance
 * brings, some of it torn.
 */

import type { Epoch, History, Op } from "./history.js";
import { type Random, randomAt } from "./random.js";
import { optionalBefore, type State, sectorsOf, startState, stateId } from "./state.js";

export interface Breadth {
  /** Most subsets of the writes of an interval, beside its prefixes. */
  readonly subsets: number;
  /** Most ways in which the last write of a prefix is torn. */
  readonly tears: number;
  readonly seed: number;
}

/** Largest number of sectors whose every part is listed. */
const LISTED_SECTORS = 12;

function keptSectors(mask: number, sectors: number): number[] {
  return Array.from({ length: sectors }, (_, i) => i).filter((i) => (mask & (1 << i)) !== 0);
}

function randomPart(sectors: number, random: Random): number[] {
  for (;;) {
    const kept = Array.from({ length: sectors }, (_, i) => i).filter(() => random(2) === 1);
    if (kept.length > 0 && kept.length < sectors) return kept;
  }
}

const span = (begin: number, end: number) => Array.from({ length: end - begin }, (_, i) => begin + i);

/** Ways to tear a write of so many sectors: its head alone, its tail alone, then any part. */
export function tearsOf(sectors: number, limit: number, random: Random): number[][] {
  if (sectors < 2 || limit === 0) return [];
  if (sectors <= LISTED_SECTORS && 2 ** sectors - 2 <= limit) {
    return span(1, 2 ** sectors - 1).map((mask) => keptSectors(mask, sectors));
  }
  const found = new Map<string, number[]>();
  const add = (kept: number[]) => {
    if (found.size < limit) found.set(kept.join(), kept);
  };
  add(span(0, 1 + random(sectors - 1)));
  add(span(1 + random(sectors - 1), sectors));
  // Tries are bounded: a small write may have few parts that are still unknown.
  for (let tries = 0; found.size < limit && tries < 4 * limit; tries++) add(randomPart(sectors, random));
  return [...found.values()];
}

interface Interval {
  readonly history: History;
  readonly number: number;
  readonly epoch: Epoch;
  readonly random: Random;
}

function* prefixes({ history, number, epoch, random }: Interval, tears: number): Generator<State> {
  for (let last = epoch.begin; last < epoch.end; last++) {
    const op = history.ops[last];
    if (op === undefined) continue;
    for (const kept of tearsOf(sectorsOf(history, op), tears, random)) {
      yield { epoch: number, last, missing: [], tear: { op: last, kept } };
    }
    yield { epoch: number, last, missing: [], tear: null };
  }
}

/** How many states beside the prefixes an interval has without tears, up to a limit. */
function countSubsets({ history, epoch }: Interval, limit: number): number {
  let count = 0;
  let optional = 0;
  for (let last = epoch.begin; last < epoch.end; last++) {
    count += 2 ** optional - 1;
    if (count > limit) return count;
    if (history.ops[last]?.fua === false) optional++;
  }
  return count;
}

function* everySubset({ history, number, epoch }: Interval): Generator<State> {
  for (let last = epoch.begin; last < epoch.end; last++) {
    const optional = optionalBefore(history, epoch, last);
    for (let mask = 1; mask < 2 ** optional.length; mask++) {
      const missing = optional.filter((_, i) => Math.floor(mask / 2 ** i) % 2 === 1);
      yield { epoch: number, last, missing, tear: null };
    }
  }
}

/** So many of them, evenly spread. */
function spread<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * items.length) / count)] as T);
}

function likely({ history, number, epoch }: Interval, limit: number): State[] {
  const last = epoch.end - 1;
  const ops = span(epoch.begin, epoch.end);
  const state = (at: number, missing: readonly number[]): State => ({
    epoch: number,
    last: at,
    missing,
    tear: null,
  });
  const optional = optionalBefore(history, epoch, last);
  const overtook = optional.map((op) => state(op + 1, [op]));
  const overtaken = optional.map((op) => state(last, [op]));
  // Its list of missing ops is as long as the interval: made for those alone that are taken.
  const alone = ops.filter((op) => op > (optional[0] ?? last));
  const share = Math.max(1, Math.floor(limit / 4));
  return [
    ...spread(overtook, share),
    ...spread(overtaken, share),
    ...spread(alone, share).map((op) => state(op, optionalBefore(history, epoch, op))),
  ];
}

function chance({ history, number, epoch, random }: Interval): State {
  const last = epoch.begin + random(epoch.end - epoch.begin);
  const optional = optionalBefore(history, epoch, last);
  // Few, half or most of them missing: each kind of mistake has its own density.
  const odds = [16, 2, 1][random(3)] ?? 2;
  const missing = optional.filter(() => (odds === 1 ? random(16) > 0 : random(odds) === 0));
  const lost = new Set(missing);
  const there = [...optional.filter((op) => !lost.has(op)), last];
  const op = there[random(there.length)] ?? last;
  const sectors = sectorsOf(history, history.ops[op] as Op);
  const tear = random(4) === 0 && sectors > 1 ? { op, kept: randomPart(sectors, random) } : null;
  return { epoch: number, last, missing, tear };
}

function* sampledSubsets(interval: Interval, limit: number): Generator<State> {
  const seen = new Set<string>();
  const fresh = (state: State) => {
    // Prefixes and their torn last write are explored anyway.
    if (state.missing.length === 0 && (state.tear === null || state.tear.op === state.last)) return false;
    const id = stateId(interval.history, state);
    if (seen.has(id)) return false;
    seen.add(id);
    return true;
  };
  for (const state of likely(interval, limit)) if (seen.size < limit && fresh(state)) yield state;
  for (let tries = 0; seen.size < limit && tries < 4 * limit; tries++) {
    const state = chance(interval);
    if (fresh(state)) yield state;
  }
}

/** Every state that is explored, from the beginning of the log to its end. */
export function* statesOf(history: History, breadth: Breadth): Generator<State> {
  yield startState(history);
  for (const [number, epoch] of history.epochs.entries()) {
    if (epoch.begin < history.from) continue;
    const entry = history.ops[epoch.begin]?.entry ?? 0;
    const interval = { history, number, epoch, random: randomAt(breadth.seed, entry) };
    yield* prefixes(interval, breadth.tears);
    const all = countSubsets(interval, breadth.subsets) <= breadth.subsets;
    yield* all ? everySubset(interval) : sampledSubsets(interval, breadth.subsets);
  }
}
