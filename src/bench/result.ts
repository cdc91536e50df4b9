/**
 * What one benchmark says: ours beside a peer, measured in the same run, as a ratio.
 * A ratio above 1 is better for throughput and worse for costs; `better` says which.
 */
export interface Row {
  /** nbd, qcow2, delay, instructions, latency, restart or lifecycle. */
  suite: string;
  /** What was done, e.g. "4 KiB random read, depth 32". */
  name: string;
  unit: string;
  ours: number;
  /** Absent when the goal is a fixed number. */
  peer?: { name: string; value: number };
  better: "higher" | "lower";
  /** The ratio ours/peer that was to be reached, or the absolute number where there is no peer. */
  goal?: number;
}

export interface Report {
  version: 1;
  /** What it ran on: nothing here names the machine. */
  machine: { cpus: number; kernel: string; node: string };
  rows: Row[];
  /** What could not be measured here, and why. */
  skipped: { suite: string; reason: string }[];
}

/** Ours divided by the peer, or by the goal where there is no peer. */
export function ratio(row: Row): number | null {
  if (row.peer !== undefined) return row.ours / row.peer.value;
  return row.goal === undefined ? null : row.ours / row.goal;
}

/** Whether the goal was reached; null when none was set. */
export function reached(row: Row): boolean | null {
  if (row.goal === undefined) return null;
  const measured = row.peer === undefined ? row.ours : row.ours / row.peer.value;
  return row.better === "higher" ? measured >= row.goal : measured <= row.goal;
}

/** What was measured anew takes the place of what was measured before, row by row; what was not stays, first. */
export function merged(before: Report, after: Report): Report {
  const key = (row: Row) => JSON.stringify([row.suite, row.name, row.peer?.name]);
  const anew = new Set(after.rows.map(key));
  return { ...after, rows: [...before.rows.filter((row) => !anew.has(key(row))), ...after.rows] };
}

/** The middle value, or the mean of the two in the middle; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[(sorted.length - 1) >> 1] ?? Number.NaN, sorted[middle] ?? Number.NaN];
  return (low + high) / 2;
}
