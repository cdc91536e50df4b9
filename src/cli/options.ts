/** The options of the verbs, each written once: flags, words of help, and how a value is read. */

import { parseSize } from "../spec/size.js";
import { MAX_DURATION_MS, parseDuration } from "./common/duration.js";
import type { Since } from "./common/invocation.js";

export interface OptionSpec {
  /** As commander reads them: "-o, --output <format>". */
  readonly flags: string;
  readonly description: string;
  readonly choices?: readonly string[];
  /** Turns the text into the value of the option. @throws BadOption when the text is not one */
  readonly parse?: (text: string, previous: unknown) => unknown;
  /** The value when the option is not given, and how help shows it. */
  readonly fallback?: { readonly value: unknown; readonly shown: string };
  /** Stack files are offered by the shell; without it and without choices, nothing is. */
  readonly offer?: "files";
}

/** A value that an option does not take; the message says what it takes. */
export class BadOption extends Error {}

function duration(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === null || milliseconds === 0) {
    throw new BadOption(
      `expected a duration from 1ms to ${Math.floor(MAX_DURATION_MS / 86_400_000)}d, such as 30s, 2m or 1h30m`,
    );
  }
  return milliseconds;
}

function since(text: string): Since {
  const agoMs = parseDuration(text, Number.MAX_SAFE_INTEGER);
  if (agoMs !== null) return { agoMs };
  const atMs = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(atMs))
    throw new BadOption("expected a duration such as 5m, or a time such as 2026-01-31T08:00:00Z");
  return { atMs };
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new BadOption("expected a whole number of lines");
  return Number(text);
}

function size(text: string): number {
  const bytes = parseSize(/^\d+$/.test(text) ? Number(text) : text);
  if (bytes === null || bytes % 512 !== 0) {
    throw new BadOption("expected a size that is a multiple of 512 bytes, such as 64MiB");
  }
  return bytes;
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,16}$/.test(text) || value < least || value > most) {
      throw new BadOption(`expected a whole number from ${least} to ${most}`);
    }
    return value;
  };
}

function collect(text: string, previous: unknown): string[] {
  return Array.isArray(previous) ? [...previous, text] : [text];
}

/** `-o FORMAT` with the formats that a verb knows. */
export function outputOf(choices: readonly string[], fallback?: string): OptionSpec {
  return {
    flags: "-o, --output <format>",
    description: "how to print the result",
    choices,
    ...(fallback === undefined ? {} : { fallback: { value: fallback, shown: fallback } }),
  };
}

/** @param standard what help shows and what holds when the option is not given */
export function timeout(standard: string): OptionSpec {
  return {
    flags: "--timeout <duration>",
    description: "how long to wait, such as 30s or 2m",
    parse: duration,
    fallback: { value: duration(standard), shown: standard },
  };
}

export const FILENAME: OptionSpec = {
  flags: "-f, --filename <file>",
  description: "the same as a FILE argument, as in kubectl; may be repeated",
  parse: collect,
  offer: "files",
};

export const DRY_RUN: OptionSpec = { flags: "--dry-run", description: "print the plan and change nothing" };
export const NO_WAIT: OptionSpec = {
  flags: "--no-wait",
  description: "return once the controller has begun, without waiting for the end",
};
/** Its opposite, so that --wait may be said too. */
export const WAIT: OptionSpec = { flags: "--wait", description: "wait for the end (the default)" };
export const FORCE: OptionSpec = {
  flags: "--force",
  description: "recreate devices even while something has them open",
};
export const FORCE_DELETE: OptionSpec = {
  flags: "--force",
  description: "take devices down even while something has them open",
};
export const FORCE_SNAPSHOT: OptionSpec = {
  flags: "--force",
  description: "apply: even while clients are connected or something has the device open",
};
export const ALLOW_DATA_LOSS: OptionSpec = {
  flags: "--allow-data-loss",
  description: "allow changes that make existing data unreadable, such as other stripe members",
};
export const READD: OptionSpec = {
  flags: "--readd",
  description: "take dropped mirror members back; they are copied in full",
};
export const ALL: OptionSpec = { flags: "--all", description: "every stack" };
export const IGNORE_NOT_FOUND: OptionSpec = {
  flags: "--ignore-not-found",
  description: "succeed when there is no such stack",
};
export const WATCH: OptionSpec = {
  flags: "-w, --watch",
  description: "print again whenever something changes, until Ctrl-C",
};
export const FOR: OptionSpec = {
  flags: "--for <condition>",
  description: "what to wait for",
  choices: ["ready", "synced"],
  fallback: { value: "ready", shown: "ready" },
};
export const WAIT_TIMEOUT: OptionSpec = {
  flags: "--timeout <duration>",
  description: "how long to wait (default: 1m for ready, 1d for synced)",
  parse: duration,
};
export const FOLLOW: OptionSpec = {
  flags: "-f, --follow",
  description: "go on printing what is added, until Ctrl-C",
};
export const SINCE: OptionSpec = {
  flags: "--since <when>",
  description: "only what is newer: a duration (5m) or a time (RFC 3339)",
  parse: since,
};
export const TAIL: OptionSpec = { flags: "--tail <lines>", description: "only the last lines", parse: count };
export const VERBOSE: OptionSpec = {
  flags: "-v, --verbose",
  description: "every check in full, with what it means",
};
export const FORCE_SHARE: OptionSpec = {
  flags: "-U, --force-share",
  description:
    "info, map: read tables that somebody is writing to; what is shown may be of different moments",
};
export const STAY: OptionSpec = {
  flags: "--stay",
  description: "run: go on when the last stack is deleted (for systemd)",
};

const SUITES = ["lifecycle", "nbd", "qcow2", "crash", "delay", "instructions", "latency", "restart"];

function suite(text: string, previous: unknown): string[] {
  if (!SUITES.includes(text)) throw new BadOption(`expected one of ${SUITES.join(", ")}`);
  return collect(text, previous);
}

export const SUITE: OptionSpec = {
  flags: "--suite <name>",
  description: `measure only this: ${SUITES.join(", ")}; may be repeated`,
  parse: suite,
};
export const ROWS: OptionSpec = {
  flags: "--rows <text>",
  description:
    "suite qcow2: only rows with this in their names, saved beside what was saved before; may be repeated",
  parse: collect,
};
export const QUICK: OptionSpec = {
  flags: "--quick",
  description: "one short round: shows that the benchmark works, not how fast anything is",
};
export const SAVE: OptionSpec = {
  flags: "--save <folder>",
  description: "write bench.json and bench.svg there",
};
export const FOLDER: OptionSpec = {
  flags: "--folder <folder>",
  description: "where the data files go; the temporary folder if not given",
};

export const RUN: OptionSpec = {
  flags: "--run <command>",
  description: "the workload whose writes are recorded",
};
export const PREPARE: OptionSpec = {
  flags: "--prepare <command>",
  description: "run before the recording, such as mkfs; what it leaves is taken as durable",
};
export const RECORDED_LAYER: OptionSpec = {
  flags: "--layer <layer>",
  description: "the layer that is recorded and rebuilt; the exported one if not given",
};
export const CHECK: OptionSpec = {
  flags: "--check <command>",
  description: "what says of a rebuilt disk whether it is good: exit status 0",
};
export const WRITE_LOG: OptionSpec = {
  flags: "--log <log>",
  description: "explore this log of writes, a file or a device, instead of recording one",
};
export const DISK_SIZE: OptionSpec = {
  flags: "--size <size>",
  description: "with --log: size of the disk that was written to",
  parse: size,
};
export const BASE: OptionSpec = {
  flags: "--base <image>",
  description: "with --log: the disk as it was before the log began; zeros if not given",
};
export const FROM: OptionSpec = {
  flags: "--from <mark>",
  description: "explore what comes after this mark of the log",
};
export const SUBSETS: OptionSpec = {
  flags: "--subsets <number>",
  description: "most subsets of the writes between two flushes, beside their prefixes (default: 64)",
  parse: wholeNumber(0, 1_000_000),
};
export const TEARS: OptionSpec = {
  flags: "--tears <number>",
  description: "most ways in which the last write is torn (default: 2)",
  parse: wholeNumber(0, 4096),
};
export const SEED: OptionSpec = {
  flags: "--seed <number>",
  description: "what chance begins with where not every subset is tried (default: 1)",
  parse: wholeNumber(0, Number.MAX_SAFE_INTEGER),
};
export const JOBS: OptionSpec = {
  flags: "--jobs <number>",
  description: "how many checks run at once (default: one for each processor)",
  parse: wholeNumber(1, 1024),
};
export const RESUME: OptionSpec = {
  flags: "--resume <folder>",
  description: "keep log and journal here, and go on with what is there",
};
export const STATE: OptionSpec = {
  flags: "--state <state>",
  description: "with --resume: rebuild and check this one state only",
};
export const IMAGE: OptionSpec = {
  flags: "--image <file>",
  description: "with --state: leave the rebuilt disk there",
};
export const FAIL_FAST: OptionSpec = {
  flags: "--fail-fast",
  description: "end with the first bad state",
};
export const CHECK_ALL: OptionSpec = {
  flags: "--check-all",
  description: "check every content, also where it differs only in what no check has read",
};
export const CHECK_TIMEOUT: OptionSpec = {
  flags: "--timeout <duration>",
  description: "how long a command may take; a check that takes longer has failed",
  parse: duration,
  fallback: { value: 60_000, shown: "1m" },
};
