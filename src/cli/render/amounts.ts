/** Numbers for people: sizes and counts that fit a column. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/** Three significant digits at least: `0B`, `512MiB`, `1.5GiB`, `93.2KiB`. Exact sizes print without a point. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits =
    Number.isInteger(value) || value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
  return `${digits}${UNITS[unit]}`;
}

/** `7`, `12.3k`, `4.5M`. */
export function countText(count: number): string {
  for (const [limit, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ] as const) {
    if (count >= limit) {
      const scaled = count / (unit === "k" ? 1e3 : limit);
      return `${scaled >= 100 ? scaled.toFixed(0) : scaled.toFixed(1)}${unit}`;
    }
  }
  return String(count);
}

/** `850ns`, `1.2µs`, `12.3ms`, `4.5s`. */
export function nanosText(nanos: number): string {
  for (const [limit, unit] of [
    [1e9, "s"],
    [1e6, "ms"],
    [1e3, "µs"],
  ] as const) {
    if (nanos >= limit) return `${(nanos / limit).toFixed(1)}${unit}`;
  }
  return `${Math.round(nanos)}ns`;
}

/** `42%`; 100% only when everything is done. */
export function percentText(done: number, total: number): string {
  if (total <= 0 || done >= total) return "100%";
  return `${Math.floor((100 * done) / total)}%`;
}

/** `1 export`, `2 exports`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
