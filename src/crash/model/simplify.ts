/** States that are simpler than a given one: what is tried to find the smallest that fails. */

import type { History } from "./history.js";
import type { State } from "./state.js";

/** How many earlier ends are tried for a state that lacks something. */
const EARLIER_ENDS = 64;

function without(numbers: readonly number[], begin: number, end: number): number[] {
  return [...numbers.slice(0, begin), ...numbers.slice(end)];
}

/** Simpler states, the much simpler first; each has fewer departures from the log's order, or an earlier end. */
export function* simplerThan(history: History, state: State): Generator<State> {
  const { missing, tear } = state;
  if (missing.length > 0 && tear !== null) yield { ...state, missing: [] };
  if (tear !== null) yield { ...state, tear: null };
  // Half of the missing writes, a quarter, … down to one, come back.
  for (let size = Math.ceil(missing.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let begin = 0; begin < missing.length; begin += size) {
      yield { ...state, missing: without(missing, begin, begin + size) };
    }
  }
  const earliest = Math.max(missing.at(-1) ?? state.last, tear?.op ?? 0) + 1;
  if (missing.length === 0) return;
  for (let last = earliest; last < Math.min(state.last, earliest + EARLIER_ENDS); last++) {
    if (history.ops[last] !== undefined && tear?.op !== state.last) yield { ...state, last };
  }
}
