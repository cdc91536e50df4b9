/** How far an exploration is: one line that is drawn again, on a terminal only. */

import type { Counts } from "../../crash/explore.js";
import type { Sink } from "./terminal.js";

export interface StateProgress {
  /** What is done before there are states. */
  say(doing: string): void;
  show(counts: Counts): void;
  end(): void;
}

const BAR = 24;
const REDRAW_MS = 100;
const MIN_COLUMNS = 20;

export function progressLine({ states, pruned, known, failed, total }: Counts, seconds: number): string {
  const done = total === 0 ? 1 : states / total;
  const bar = "█".repeat(Math.round(done * BAR)).padEnd(BAR, "░");
  const rate = seconds > 0 ? Math.round(states / seconds) : 0;
  return `${bar} ${states}/${total} states, ${pruned} seen before, ${known} known, ${failed} bad, ${rate}/s`;
}

export function createStateProgress(err: Sink): StateProgress {
  const silent = !err.isTerminal || err.columns < MIN_COLUMNS;
  const begin = performance.now();
  let drawn = Number.NEGATIVE_INFINITY;
  return {
    say(doing) {
      if (silent) return;
      drawn = 0;
      err.write(`\r\u001b[K${doing} …`.slice(0, err.columns));
    },
    show(counts) {
      const now = performance.now();
      if (silent || now - drawn < REDRAW_MS) return;
      drawn = now;
      err.write(`\r\u001b[K${progressLine(counts, (now - begin) / 1000).slice(0, err.columns - 1)}`);
    },
    end() {
      if (!silent && drawn >= 0) err.write("\r\u001b[K");
      drawn = Number.NEGATIVE_INFINITY;
    },
  };
}
