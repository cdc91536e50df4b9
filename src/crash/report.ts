/** What an exploration found, for programs (the published contract of `crash -o json`) and for people. */

import type { CommandResult } from "./command.js";
import type { Counts, Exploration, Failure } from "./explore.js";
import type { History } from "./model/history.js";
import { FLUSH, FUA, type Log } from "./model/log.js";
import { describeState, stateId } from "./model/state.js";

export interface FailureReport extends CommandResult {
  /** The state's name, for --state. */
  readonly id: string;
  readonly description: string;
}

export interface CrashReport {
  readonly version: 1;
  readonly log: {
    readonly path: string;
    readonly entries: number;
    readonly writes: number;
    readonly flushes: number;
    readonly fua: number;
    /** Why the log is not used to its end; null when it is. */
    readonly cut: string | null;
  };
  readonly disk: { readonly sizeBytes: number; readonly touchedBytes: number };
  readonly options: {
    readonly check: string;
    readonly subsets: number;
    readonly tears: number;
    readonly seed: number;
    readonly from: string | null;
  };
  /** The recorded workload; null when a log was given. */
  readonly workload: (CommandResult & { readonly run: string }) | null;
  readonly counts: Counts;
  /** Checks that were left out because of what others read. */
  readonly reads: {
    /** Whether that was done. */
    readonly used: boolean;
    /** Why not; null when it was. */
    readonly reason: string | null;
    /** Checks that were done only to see whether it may be done; none of them spoke against it. */
    readonly confirmed: number;
  };
  readonly seconds: number;
  /** Of each check that failed, the smallest state that it speaks for; at most MAX_FAILURES of them. */
  readonly failing: readonly FailureReport[];
  readonly smallest:
    | (FailureReport & {
        /** Whether it failed once more on a disk that was made anew; if not, the check is not to be trusted. */
        readonly failsAgain: boolean;
        /** A command that rebuilds this state and runs the check on it. */
        readonly reproduce: string;
      })
    | null;
  /** Where log and journal are kept; null when nothing is. */
  readonly folder: string | null;
}

export const MAX_FAILURES = 1000;

export interface ReportInput {
  readonly log: Log;
  readonly logPath: string;
  readonly history: History;
  readonly options: CrashReport["options"];
  readonly workload: CrashReport["workload"];
  readonly exploration: Exploration;
  /** Why what checks read was of no use; null when it was. */
  readonly readsUnused: string | null;
  readonly seconds: number;
  readonly folder: string | null;
}

const shellWord = (text: string) =>
  /^[\w./:@%+,~-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

function failureReport(history: History, { state, verdict }: Failure): FailureReport {
  const { result } = verdict;
  if (result === undefined) throw new RangeError(`state ${verdict.id} did not fail`);
  return { id: stateId(history, state), description: describeState(history, state), ...result };
}

export function makeReport(input: ReportInput): CrashReport {
  const { log, history, exploration, folder } = input;
  const { smallest } = exploration;
  const has = (flag: number) => log.entries.filter(({ flags }) => (flags & flag) !== 0).length;
  const id = smallest === null ? "" : stateId(history, smallest.failure.state);
  return {
    version: 1,
    log: {
      path: input.logPath,
      entries: log.entries.length,
      writes: history.ops.length,
      flushes: has(FLUSH),
      fua: has(FUA),
      cut: log.cut,
    },
    disk: { sizeBytes: history.diskBytes, touchedBytes: history.sectors.length * 512 },
    options: input.options,
    workload: input.workload,
    counts: { ...exploration.counts },
    reads: {
      used: input.readsUnused === null,
      reason: input.readsUnused,
      confirmed: exploration.confirmed,
    },
    seconds: input.seconds,
    failing: exploration.failures.slice(0, MAX_FAILURES).map((failure) => failureReport(history, failure)),
    smallest:
      smallest === null
        ? null
        : {
            ...failureReport(history, smallest.failure),
            failsAgain: smallest.again,
            reproduce: `ublk-stack crash --resume ${shellWord(folder ?? "")} --state ${shellWord(id)}`,
          },
    folder,
  };
}

const amount = (value: number) => Math.round(value).toLocaleString("en-US");
const plural = (value: number, word: string) =>
  `${amount(value)} ${word}${value === 1 ? "" : word.endsWith("sh") ? "es" : "s"}`;

function endOfCommand({ exit, signal, timedOut }: CommandResult): string {
  if (timedOut) return "ran out of time";
  return signal === null ? `exit ${exit}` : `ended by ${signal}`;
}

const indented = (text: string) => text.trimEnd().replace(/^/gm, "    ");

/** Some lines for people, ending without a line end. */
export function renderReport(report: CrashReport): string {
  const { counts, log, smallest } = report;
  const { used, reason, confirmed } = report.reads;
  const known = used ? ` ${amount(counts.known)} known by what a check read,` : "";
  const rate = report.seconds > 0 ? ` in ${report.seconds.toFixed(1)} s` : "";
  const lines = [
    `log: ${plural(log.writes, "write")}, ${plural(log.flushes, "flush")}, ${amount(log.fua)} with FUA`,
    ...(log.cut === null ? [] : [`log used up to its last whole entry only: ${log.cut}`]),
    `${plural(counts.states, "state")}: ${amount(counts.pruned)} with content seen before,${known} ${plural(counts.checked, "check")}${rate}`,
    ...(used ? [`${plural(confirmed, "check")} only to confirm what was left out`] : []),
    ...(used ? [] : [`every content was checked: ${reason}`]),
  ];
  if (smallest === null) return [...lines, "no bad state"].join("\n");
  lines.push(
    `${plural(counts.failed, "bad state")}; the smallest:`,
    `  ${smallest.id}: ${smallest.description}`,
    `  check: ${endOfCommand(smallest)}`,
    ...(smallest.output.trim() === "" ? [] : [indented(smallest.output)]),
    ...(smallest.failsAgain
      ? []
      : ["  it passed when it was checked again: the check does not depend on the disk alone"]),
    `  again: ${smallest.reproduce}`,
  );
  return lines.join("\n");
}
