/** Durations as the file writes them: a whole number with a unit. */

import type { Delay, Duration } from "./spec.gen.js";
import type { DelaySpec } from "./stack-spec.js";

const UNITS = { ns: 1, us: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 } as const;
const DURATION = /^(0|[1-9][0-9]*)(ns|us|ms|s|m|h)$/;

/** @returns nanoseconds, 0 to 2^53 - 1, or null if this is no duration or a longer one */
export function parseDuration(duration: Duration): number | null {
  const match = DURATION.exec(duration);
  if (match === null) return null;
  const nanoseconds = Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
  return Number.isSafeInteger(nanoseconds) ? nanoseconds : null;
}

/** @param delay fits the schema @returns null if it says a duration that is too long */
export function parseDelay(delay: Delay): DelaySpec | null {
  if (delay === "trace") return { kind: "trace", ns: [] };
  if (typeof delay === "string") {
    const ns = parseDuration(delay);
    return ns === null ? null : { kind: "fixed", ns: [ns] };
  }
  const [kind, pair] =
    "uniform" in delay ? (["uniform", delay.uniform] as const) : (["normal", delay.normal] as const);
  const [first = null, second = null] = pair.map(parseDuration);
  return first === null || second === null ? null : { kind, ns: [first, second] };
}
