/** Durations as they are written on the command line and shown in tables. */

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;
const WHOLE = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

/** What a timer of Node can still count. */
export const MAX_DURATION_MS = 2 ** 31 - 1;

/**
 * `30s`, `2m`, `1h30m`, `250ms`; a bare number is seconds, as in kubectl.
 * @returns milliseconds from 0 to `maxMs`, or null when the text is no duration or a longer one
 */
export function parseDuration(text: string, maxMs: number = MAX_DURATION_MS): number | null {
  let total = 0;
  if (/^\d+$/.test(text)) {
    total = Number(text) * UNIT_MS.s;
  } else {
    if (!WHOLE.test(text)) return null;
    for (const [, amount, unit] of text.matchAll(PART)) {
      total += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
    }
  }
  const rounded = Math.round(total);
  return rounded <= maxMs ? rounded : null;
}

/** The two largest units, as kubectl shows an age: `45s`, `3m12s`, `2d4h`; below a second `120ms`. */
export function formatDuration(milliseconds: number): string {
  const ms = Math.max(0, Math.round(milliseconds));
  if (ms < UNIT_MS.s) return `${ms}ms`;
  const units = ["d", "h", "m", "s"] as const;
  const first = units.findIndex((unit) => ms >= UNIT_MS[unit]);
  let rest = ms;
  let text = "";
  for (const unit of units.slice(first, first + 2)) {
    const count = Math.floor(rest / UNIT_MS[unit]);
    rest -= count * UNIT_MS[unit];
    if (count > 0) text += `${count}${unit}`;
  }
  return text;
}
