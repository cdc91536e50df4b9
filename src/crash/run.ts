/** One exploration from an open session to its report, with its disks and its journal. */

import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StackError } from "../errors.js";
import { onTmpfs } from "../reconcile/paths.js";
import { type CommandResult, succeeded } from "./command.js";
import { DiskFile } from "./disk-file.js";
import { type Bench, type Counts, explore } from "./explore.js";
import { fileBench } from "./file-bench.js";
import { Journal, sessionFile } from "./journal.js";
import { Composer } from "./model/composer.js";
import { parseStateId } from "./model/state.js";
import { type CrashReport, makeReport } from "./report.js";
import { servedBench } from "./served-bench.js";
import type { OpenSession } from "./session.js";

export interface RunOptions {
  readonly folder: string;
  /** The folder stays, so that the report can name it. */
  readonly kept: boolean;
  readonly jobs: number;
  readonly timeoutMs: number;
  readonly failFast: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly onProgress: (counts: Counts) => void;
}

/** Where rebuilt disks are: in memory if there is any tmpfs. */
export function memoryFolder(): string {
  const shared = "/dev/shm";
  return onTmpfs(tmpdir()) || !existsSync(shared) ? tmpdir() : shared;
}

type BenchRunner = Pick<RunOptions, "env" | "timeoutMs" | "signal">;

/** Calls `work` with places to check states at, and takes them down whatever happens. */
async function withBenches<T>(
  { session, history, base }: OpenSession,
  count: number,
  { env, timeoutMs, signal }: BenchRunner,
  work: (benches: readonly Bench[], folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(memoryFolder(), "ublk-stack-crash-"));
  const { check, cwd, above } = session;
  const options = { history, base, check, cwd, env, timeoutMs, signal };
  const benches = Array.from({ length: count }, (_, job) => {
    const path = join(folder, `disk-${job}.img`);
    return above === null
      ? fileBench(path, options)
      : servedBench(path, join(folder, `run-${job}`), above, options);
  });
  try {
    return await work(benches, folder);
  } finally {
    for (const bench of benches) await bench.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes what the session is, the first time, or makes sure that it still is what it was. */
async function settle(
  { session, fingerprint }: OpenSession,
  folder: string,
  known: string | null,
): Promise<void> {
  if (known !== null && known !== fingerprint) {
    throw new StackError(
      "log-unusable",
      `the log or the disk image is not the one that ${folder} has begun with`,
    );
  }
  if (known === null) {
    await writeFile(sessionFile(folder), `${JSON.stringify({ ...session, fingerprint }, null, 2)}\n`);
  }
}

/**
 * Explores every state that the journal does not know yet.
 * @param known the fingerprint with which the session was begun
 */
export async function runExploration(
  open: OpenSession,
  known: string | null,
  options: RunOptions,
): Promise<CrashReport> {
  const { session, log, history, logPath } = open;
  const begin = performance.now();
  await settle(open, options.folder, known);
  const journal = new Journal(options.folder);
  try {
    const { failFast, signal, onProgress } = options;
    const exploration = await withBenches(open, options.jobs, options, (benches) =>
      explore({ history, breadth: session, journal, benches, failFast, signal, onProgress }),
    );
    const { check, subsets, tears, seed, from } = session;
    return makeReport({
      log,
      logPath,
      history,
      options: { check, subsets, tears, seed, from },
      workload: session.workload,
      exploration,
      seconds: (performance.now() - begin) / 1000,
      folder: options.kept || exploration.smallest !== null ? options.folder : null,
    });
  } finally {
    journal.close();
  }
}

/**
 * Rebuilds one state and checks it, without a look at the journal.
 * @param image where to leave the rebuilt disk; null: nowhere
 * @throws StackError usage when the log has no such state
 */
export async function runState(
  open: OpenSession,
  id: string,
  image: string | null,
  runner: BenchRunner,
): Promise<CommandResult & { ok: boolean }> {
  const { history } = open;
  const state = parseStateId(history, id);
  if (state === null) throw new StackError("usage", `the log has no state "${id}"`);
  const composer = new Composer(history);
  composer.compose(state);
  if (image !== null) {
    const disk = new DiskFile(image, history, open.base);
    disk.hold(composer, state.epoch);
    disk.leave();
  }
  return await withBenches(open, 1, runner, async ([bench]) => {
    if (bench === undefined) throw new RangeError("no place to check at");
    const result = await bench.check(composer, state);
    return { ...result, ok: succeeded(result) };
  });
}
