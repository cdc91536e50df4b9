/**
 * How many crash states are explored a second by one job, beside what somebody does who replays the log by hand: for
 * each state a new file in memory, the log from its beginning up to a write, and the same check.
 */

import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../crash/command.js";
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

export interface CrashBenchOptions {
  /** What is copied into the file system. */
  readonly copyBytes: number;
  readonly subsets: number;
  /** How many states are replayed by hand, evenly spread over the log. */
  readonly byHand: number;
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

/** mkfs.ext4 with a folder of files, then sync: most of what is written is data, in blocks of 4 KiB. */
async function recordCopy(
  folder: string,
  copyBytes: number,
  progress: (text: string) => void,
): Promise<Session> {
  const tree = join(folder, "tree");
  await mkdir(tree, { recursive: true });
  const files = 8;
  for (let number = 0; number < files; number++) {
    await writeFile(join(tree, `file-${number}`), randomBytes(Math.floor(copyBytes / files)));
  }
  const document = parseStacks(JSON.stringify(DOCUMENT), "bench").documents[0]?.document;
  if (document === undefined) throw new Error("the benchmark's own stack is not valid");
  const recorded = await record({
    document,
    baseDir: folder,
    layer: undefined,
    prepare: undefined,
    run: `mkfs.ext4 -q -F -b 4096 -E nodiscard -d ${tree} "$UBLK_STACK_FILE" && sync -f "$UBLK_STACK_FILE"`,
    folder,
    cwd: folder,
    env: process.env,
    timeoutMs: TIMEOUT_MS,
    signal: NEVER,
    say: progress,
  });
  return { version: 1, check: CHECK, from: null, subsets: 0, tears: 0, seed: 1, ...recorded };
}

/** States a second by hand: the mean over prefixes that are spread over the log. */
async function byHand(
  folder: string,
  session: Session,
  count: number,
  progress: (text: string) => void,
): Promise<number> {
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

export async function benchCrash(
  sandbox: Sandbox,
  options: CrashBenchOptions,
  progress: (text: string) => void,
): Promise<Row[]> {
  for (const program of ["mkfs.ext4", "e2fsck", "nbdfuse"]) {
    if (!(await onPath(program))) throw new Error(`${program} is not installed`);
  }
  const folder = join(sandbox.folder, "crash");
  await mkdir(folder);
  const recorded = await recordCopy(folder, options.copyBytes, progress);
  const session = { ...recorded, subsets: options.subsets };
  const hand = await byHand(folder, session, options.byHand, progress);
  const open = openSession(folder, session);
  try {
    const report = await runExploration(open, null, {
      folder,
      kept: true,
      jobs: 1,
      timeoutMs: TIMEOUT_MS,
      failFast: false,
      checkAll: false,
      env: process.env,
      signal: NEVER,
      onProgress: ({ states, total }) => progress(`explorer: ${states} of ${total} states`),
    });
    const { counts, seconds } = report;
    const row = (name: string, unit: string, ours: number, peer?: number): Row => ({
      suite: "crash",
      name,
      unit,
      ours,
      better: "higher",
      ...(peer === undefined ? {} : { peer: { name: "replayed by hand", value: peer }, goal: 20 }),
    });
    return [
      row(
        "crash states of mkfs.ext4 and a copy, e2fsck on each, one job",
        "states/s",
        counts.states / seconds,
        hand,
      ),
      row("the same, each content once: checks", "checks/s", counts.checked / seconds),
    ];
  } finally {
    open.close();
  }
}
