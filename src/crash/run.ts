/** One exploration from an open session to its report, with its disks and its journal. */

import { writeFile } from "node:fs/promises";
import { StackError } from "../errors.js";
import { type BenchMaker, type BenchRunner, withBenches } from "./benches.js";
import { type CommandResult, succeeded } from "./command.js";
import { DiskFile } from "./disk-file.js";
import { type Bench, type Counts, type Exploration, explore, ReadsDoubted } from "./explore.js";
import { Journal, sessionFile } from "./journal.js";
import { Composer } from "./model/composer.js";
import { parseStateId } from "./model/state.js";
import { NotMounted } from "./recorded-disk.js";
import { type CrashReport, makeReport } from "./report.js";
import type { OpenSession } from "./session.js";

export interface RunOptions {
  readonly folder: string;
  /** The folder stays, so that the report can name it. */
  readonly kept: boolean;
  readonly jobs: number;
  readonly timeoutMs: number;
  readonly failFast: boolean;
  /** Every content, also those that differ only where no check has read. */
  readonly checkAll: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly onProgress: (counts: Counts) => void;
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

/** Benches that record what checks read, if that can be had. */
async function benchesFor(
  maker: BenchMaker,
  { jobs, checkAll }: RunOptions,
  doubt: string | null,
): Promise<{ benches: readonly Bench[]; plain: Bench | null; unused: string | null }> {
  let unused = checkAll ? "--check-all" : doubt;
  if (unused === null) {
    try {
      const benches = await maker.recorded(jobs);
      return { benches, plain: maker.plain(1)[0] ?? null, unused: null };
    } catch (error) {
      if (!(error instanceof NotMounted)) throw error;
      unused = `what checks read cannot be recorded: ${error.message}`;
    }
  }
  return { benches: maker.plain(jobs), plain: null, unused };
}

async function exploreAll(
  open: OpenSession,
  journal: Journal,
  options: RunOptions,
): Promise<{ exploration: Exploration; unused: string | null }> {
  const { history, session: breadth } = open;
  const { failFast, signal, onProgress } = options;
  const pass = async (maker: BenchMaker) => {
    const { benches, plain, unused } = await benchesFor(maker, options, journal.doubt);
    const all = { history, breadth, journal, benches, plain, failFast, signal, onProgress };
    return { exploration: await explore(all), unused };
  };
  try {
    return await withBenches(open, options, pass);
  } catch (error) {
    if (!(error instanceof ReadsDoubted)) throw error;
    journal.doubtReads(error.message);
    return await withBenches(open, options, pass);
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
    const { exploration, unused } = await exploreAll(open, journal, options);
    const { check, subsets, tears, seed, from } = session;
    return makeReport({
      log,
      logPath,
      history,
      options: { check, subsets, tears, seed, from },
      workload: session.workload,
      exploration,
      readsUnused: unused,
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
  return await withBenches(open, runner, async (maker) => {
    const [bench] = maker.plain(1);
    if (bench === undefined) throw new RangeError("no place to check at");
    const { result } = await bench.check(composer, state);
    return { ...result, ok: succeeded(result) };
  });
}
