/**
 * How many crash states are explored a second by one job, beside what somebody does who replays the log by hand: for
 * each state a new file in memory, the log from its beginning up to a write, and the same check.
 */

import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCommand } from "../crash/command.js";
import type { Counts } from "../crash/explore.js";
import { record } from "../crash/record.js";
import { runExploration } from "../crash/run.js";
import { memoryFolder } from "../crash/scratch.js";
import { openSession, type Session } from "../crash/session.js";
import { openSource } from "../crash/sources.js";
import { parseStacks } from "../spec/index.js";
import { replayByHand } from "./replay.js";
import type { Row } from "./result.js";
import { onPath, type Sandbox } from "./sandbox.js";

const MIB = 1 << 20;
const DISK_BYTES = 64 * MIB;
const CHECK = 'e2fsck -fn "$UBLK_STACK_FILE"';
const TIMEOUT_MS = 120_000;
const RECORD_MS = 1_800_000;
const FILES = 8;
const REWRITE = fileURLToPath(new URL("./rewrite.js", import.meta.url));

export interface CrashBenchOptions {
  /** What the file system's files hold. */
  readonly copyBytes: number;
  readonly subsets: number;
  /** How many states are replayed by hand, evenly spread over the log. */
  readonly byHand: number;
  /** How many contents are checked where every content is. */
  readonly checks: number;
  /** Of the long log: what is written over the files, in so many rounds. */
  readonly rewrittenBytes: number;
  readonly rounds: number;
  readonly longByHand: number;
}

const DOCUMENT = {
  apiVersion: "ublk-stack/v1",
  kind: "Stack",
  metadata: { name: "crash" },
  spec: {
    layers: { disk: { memory: { size: DISK_BYTES } } },
    exports: { data: { layer: "disk", frontend: "nbd" } },
  },
};

const NEVER = new AbortController().signal;

type Say = (text: string) => void;

async function recordRun(folder: string, run: string, progress: Say): Promise<Session> {
  const document = parseStacks(JSON.stringify(DOCUMENT), "bench").documents[0]?.document;
  if (document === undefined) throw new Error("the benchmark's own stack is not valid");
  const recorded = await record({
    document,
    baseDir: folder,
    layer: undefined,
    prepare: undefined,
    run,
    folder,
    cwd: folder,
    env: process.env,
    timeoutMs: RECORD_MS,
    signal: NEVER,
    say: progress,
  });
  return { version: 1, check: CHECK, from: null, subsets: 0, tears: 0, seed: 1, ...recorded };
}

/** A file system with a folder of files: most of what is written is data, in blocks of 4 KiB. */
async function makeFiles(folder: string, copyBytes: number): Promise<string> {
  const tree = join(folder, "tree");
  await mkdir(tree, { recursive: true });
  for (let number = 0; number < FILES; number++) {
    await writeFile(join(tree, `file-${number}`), randomBytes(Math.floor(copyBytes / FILES)));
  }
  return `mkfs.ext4 -q -F -b 4096 -E nodiscard -d ${tree} "$UBLK_STACK_FILE" && sync -f "$UBLK_STACK_FILE"`;
}

/** States a second by hand: the mean over prefixes that are spread over the log. */
async function byHand(folder: string, session: Session, count: number, progress: Say): Promise<number> {
  const open = openSession(folder, session);
  const source = openSource(open.logPath, "log");
  const memory = await mkdtemp(join(memoryFolder(), "ublk-stack-bench-"));
  const path = join(memory, "disk.img");
  const { entries } = open.log;
  const env = { ...process.env, UBLK_STACK_FILE: path };
  const begin = performance.now();
  try {
    for (let number = 0; number < count; number++) {
      progress(`by hand: ${number} of ${count} states`);
      const last = Math.floor(((number + 0.5) * entries.length) / count);
      replayByHand(path, session.sizeBytes, source, entries.slice(0, last + 1));
      await runCommand(CHECK, { env, cwd: folder, timeoutMs: TIMEOUT_MS, signal: NEVER });
    }
    return (count / (performance.now() - begin)) * 1000;
  } finally {
    source.close();
    open.close();
    await rm(memory, { recursive: true, force: true });
  }
}

interface Rate {
  readonly counts: Counts;
  /** From the first byte of the log that is read to the report; with a limit, from the first state on. */
  readonly seconds: number;
}

/**
 * One job's exploration.
 * @param limit of states, where every content is checked; null: all states, and checks left out
 */
async function explorer(
  folder: string,
  session: Session,
  limit: number | null,
  progress: Say,
): Promise<Rate> {
  const place = await mkdtemp(join(folder, "exploration-"));
  const enough = new AbortController();
  let begin = performance.now();
  const open = openSession(folder, session);
  let last: Counts | null = null;
  try {
    await runExploration(open, null, {
      folder: place,
      kept: true,
      jobs: 1,
      timeoutMs: TIMEOUT_MS,
      failFast: false,
      checkAll: limit !== null,
      env: process.env,
      signal: enough.signal,
      onProgress: (counts) => {
        // Of the first states alone, reading the whole log would be most.
        if (limit !== null && last === null) begin = performance.now();
        last = { ...counts };
        progress(`explorer: ${counts.states} of ${limit ?? counts.total} states`);
        if (limit !== null && counts.states >= limit) enough.abort();
      },
    });
  } catch (error) {
    if (!enough.signal.aborted) throw error;
  } finally {
    open.close();
    await rm(place, { recursive: true, force: true });
  }
  if (last === null) throw new Error("the explorer looked at no state");
  return { counts: last, seconds: (performance.now() - begin) / 1000 };
}

interface Regime {
  readonly name: string;
  readonly session: Session;
  readonly byHand: number;
  readonly checks: number;
}

async function compare(
  folder: string,
  { name, session, byHand: count, checks }: Regime,
  progress: Say,
): Promise<Row[]> {
  const peer = { name: "replayed by hand", value: await byHand(folder, session, count, progress) };
  const all = await explorer(folder, session, checks, progress);
  const used = await explorer(folder, session, null, progress);
  const row = (what: string, unit: string, ours: number, more: Partial<Row> = {}): Row => ({
    suite: "crash",
    name: `${name}: ${what}`,
    unit,
    ours,
    better: "higher",
    ...more,
  });
  return [
    row("states", "states/s", used.counts.states / used.seconds, { peer, goal: 20 }),
    row("every content checked", "states/s", all.counts.states / all.seconds, { peer }),
    row("states in all", "states", used.counts.states),
    row("of these known by what a check read", "states", used.counts.known),
    row("of these checked", "states", used.counts.checked, { better: "lower" }),
  ];
}

export async function benchCrash(
  sandbox: Sandbox,
  options: CrashBenchOptions,
  progress: Say,
): Promise<Row[]> {
  for (const program of ["mkfs.ext4", "e2fsck", "debugfs", "nbdfuse"]) {
    if (!(await onPath(program))) throw new Error(`${program} is not installed`);
  }
  const { copyBytes, subsets, byHand: few, checks, rewrittenBytes, rounds, longByHand } = options;
  const [short, long] = [join(sandbox.folder, "crash"), join(sandbox.folder, "crash-long")];
  await mkdir(short);
  await mkdir(long);
  const make = await makeFiles(short, copyBytes);
  const copied = await recordRun(short, make, progress);
  const session = { ...copied, subsets };
  const name = "mkfs.ext4 and a copy";
  const rows = await compare(short, { name, session, byHand: few, checks }, progress);

  const rewrite = `${process.execPath} ${REWRITE} "$UBLK_STACK_FILE" ${FILES} ${rewrittenBytes} ${rounds}`;
  const rewritten = await recordRun(long, `${make} && ${rewrite}`, progress);
  const mib = Math.round(rewrittenBytes / MIB);
  const longer = {
    name: `the same, then ${mib} MiB written over it`,
    session: { ...rewritten, subsets: 4, tears: 1 },
    byHand: longByHand,
    checks,
  };
  return [...rows, ...(await compare(long, longer, progress))];
}
