/**
 * One way the disk may look after a power cut, and its name.
 *
 *   start               nothing of what is explored was written
 *   120                 entry 120 of the log is the last on disk, and everything before it is there
 *   120-101.104..106    the same, but entries 101 and 104 to 106 are missing
 *   120+118             of the entries since the flush before it only 118 is there, and 120 (and what is durable alone)
 *   120~0..2            of entry 120 only its sectors 0 to 2, in sectors of the logged device
 *   120~118:0           of entry 118 only its sector 0
 *
 * A name says all that there is to know together with the log: no seed. Of the ways to write a state only one is its
 * name, see stateId.
 */

import type { Epoch, History, Op } from "./history.js";
import { SECTOR_BYTES } from "./log.js";

export interface Tear {
  /** Number of the op that is torn. */
  readonly op: number;
  /** Those of its sectors that are on disk, ascending; neither none nor all. */
  readonly kept: readonly number[];
}

export interface State {
  readonly epoch: number;
  /** The last op on disk, whole or torn; one before the epoch's begin when there is none. */
  readonly last: number;
  /** Ops of the epoch before the last that are not on disk, ascending; none with forced unit access. */
  readonly missing: readonly number[];
  readonly tear: Tear | null;
}

/** Whether nothing is missing and nothing torn. */
export const isPrefix = ({ missing, tear }: State) => missing.length === 0 && tear === null;

/** How far a state is from the order of the log: missing writes, and torn ones. */
export const departures = ({ missing, tear }: State) => missing.length + (tear === null ? 0 : 1);

/** Smaller is easier to understand: fewer departures, then earlier in the log, then less that is torn off. */
export function compareStates(a: State, b: State): number {
  return (
    departures(a) - departures(b) ||
    a.last - b.last ||
    (a.missing[0] ?? 0) - (b.missing[0] ?? 0) ||
    (b.tear?.kept.length ?? 0) - (a.tear?.kept.length ?? 0)
  );
}

/** Ascending numbers as 1.3..5 */
function ranges(numbers: readonly number[]): string[] {
  const texts: string[] = [];
  for (let i = 0; i < numbers.length; ) {
    const begin = numbers[i] as number;
    let end = begin;
    while (++i < numbers.length && numbers[i] === end + 1) end++;
    texts.push(begin === end ? `${begin}` : `${begin}..${end}`);
  }
  return texts;
}

/** How many sectors of its device an op has; a discard is done or not done. */
export const sectorsOf = ({ unit }: History, op: Op) => (op.kind === "write" ? op.count / unit : 1);

/** Ops of an epoch before `last` that need not be on disk. */
export function optionalBefore(history: History, epoch: Epoch, last: number): number[] {
  const optional: number[] = [];
  for (let op = epoch.begin; op < last; op++) if (history.ops[op]?.fua === false) optional.push(op);
  return optional;
}

const START = "start";

/** Nothing of what is explored is on disk; that is all there is when nothing is written. */
export function startState({ epochs, ops, from }: History): State {
  const found = epochs.findIndex(({ begin }) => begin >= from);
  const epoch = found < 0 ? epochs.length : found;
  return { epoch, last: (epochs[epoch]?.begin ?? ops.length) - 1, missing: [], tear: null };
}

export function stateId(history: History, state: State): string {
  const epoch = history.epochs[state.epoch];
  if (epoch === undefined || state.last < epoch.begin) return START;
  const entry = (op: number) => history.ops[op]?.entry ?? -1;
  let id = `${entry(state.last)}`;
  if (state.missing.length > 0) {
    const lost = new Set(state.missing);
    const kept = optionalBefore(history, epoch, state.last).filter((op) => !lost.has(op));
    const without = ranges(state.missing.map(entry));
    const only = ranges(kept.map(entry));
    id += only.length < without.length && without.length > 1 ? `+${only.join(".")}` : `-${without.join(".")}`;
  }
  if (state.tear !== null) {
    const where = state.tear.op === state.last ? "" : `${entry(state.tear.op)}:`;
    id += `~${where}${ranges(state.tear.kept).join(".")}`;
  }
  return id;
}

/** The numbers of 1.3..5; null when the text is none, or they do not ascend, or more than `limit`. */
function parseRanges(text: string, limit: number): number[] | null {
  const numbers: number[] = [];
  if (text === "") return numbers;
  for (const part of text.split(/(?<!\.)\.(?!\.)/)) {
    const match = /^(\d{1,10})(?:\.\.(\d{1,10}))?$/.exec(part);
    if (match === null) return null;
    const begin = Number(match[1]);
    const end = Number(match[2] ?? begin);
    if (end < begin || begin <= (numbers.at(-1) ?? -1) || end - begin + numbers.length >= limit) return null;
    for (let at = begin; at <= end; at++) numbers.push(at);
  }
  return numbers;
}

const ID = /^(\d{1,10})(?:([-+])([\d.]*))?(?:~(?:(\d{1,10}):)?([\d.]+))?$/;

/** The state of a name; null when the log has no such state. */
export function parseStateId(history: History, text: string): State | null {
  const { ops, epochs } = history;
  if (text === START) {
    return startState(history);
  }
  const match = ID.exec(text);
  if (match === null) return null;
  const opOf = new Map(ops.map((op, number) => [op.entry, number]));
  const last = opOf.get(Number(match[1]));
  const number = last === undefined ? -1 : epochs.findIndex(({ begin, end }) => begin <= last && last < end);
  const epoch = epochs[number];
  if (last === undefined || epoch === undefined || last < history.from) return null;

  const optional = optionalBefore(history, epoch, last);
  const listed = match[2] === undefined ? [] : parseRanges(match[3] ?? "", ops.length);
  if (listed === null) return null;
  const chosen = listed.map((entry) => opOf.get(entry) ?? -1);
  const allowed = new Set(optional);
  if (chosen.some((op) => !allowed.has(op))) return null;
  const said = new Set(chosen);
  const missing = match[2] === "+" ? optional.filter((op) => !said.has(op)) : chosen;

  if (match[5] === undefined) return { epoch: number, last, missing, tear: null };
  const torn = match[4] === undefined ? last : opOf.get(Number(match[4]));
  const op = torn === undefined ? undefined : ops[torn];
  const kept = parseRanges(match[5], op === undefined ? 0 : sectorsOf(history, op));
  if (torn === undefined || op === undefined || kept === null || kept.length === 0) return null;
  if (torn !== last && (op.fua || torn < epoch.begin || torn > last || missing.includes(torn))) return null;
  if (kept.length >= sectorsOf(history, op) || (kept.at(-1) ?? 0) >= sectorsOf(history, op)) return null;
  return { epoch: number, last, missing, tear: { op: torn, kept } };
}

function opText(op: Op | undefined, history: History): string {
  if (op === undefined) return "nothing";
  const begin = (history.sectors[op.first] ?? 0) * SECTOR_BYTES;
  return `${op.kind} ${op.entry} (${op.count * SECTOR_BYTES} bytes at ${begin}${op.fua ? ", FUA" : ""})`;
}

/** The state in words, for people. */
export function describeState(history: History, state: State): string {
  const op = (number: number) => opText(history.ops[number], history);
  const epoch = history.epochs[state.epoch];
  if (epoch === undefined || state.last < epoch.begin) return "nothing of what was explored is on disk";
  const torn =
    state.tear === null ? null : `of ${op(state.tear.op)} only sectors ${ranges(state.tear.kept).join(", ")}`;
  const shown = state.missing.slice(0, 4).map(op).join(", ");
  const more = state.missing.length > 4 ? ` and ${state.missing.length - 4} more` : "";
  return [
    `up to ${op(state.last)}`,
    ...(state.missing.length === 0 ? [] : [`without ${shown}${more}`]),
    ...(torn === null ? [] : [torn]),
  ].join("; ");
}
