/** `ublk-stack crash`: every way the disk may look after a power cut during a workload, and a check on each. */

import { existsSync, realpathSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { record } from "../crash/record.js";
import { type CrashReport, renderReport } from "../crash/report.js";
import { type RunOptions, runExploration, runState } from "../crash/run.js";
import { openSession, readSession, type Session } from "../crash/session.js";
import { openSource } from "../crash/sources.js";
import { StackError } from "../errors.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { acceptedStacks } from "./common/stacks.js";
import { createStateProgress } from "./common/state-progress.js";
import { printValue } from "./common/structured.js";

/** The options as the registry parses them. */
interface CrashOptions {
  readonly run?: string;
  readonly check?: string;
  readonly prepare?: string;
  readonly layer?: string;
  readonly log?: string;
  readonly size?: number;
  readonly base?: string;
  readonly from?: string;
  readonly subsets?: number;
  readonly tears?: number;
  readonly seed?: number;
  readonly jobs?: number;
  readonly resume?: string;
  readonly state?: string;
  readonly image?: string;
  readonly timeout: number;
  readonly failFast?: boolean;
  readonly checkAll?: boolean;
  readonly output?: string;
}

const SUBSETS = 64;
const TEARS = 2;
const SEED = 1;

const usage = (message: string) => new StackError("usage", message);

/** Options that say what is explored: a folder that was begun knows them. */
const OF_SESSION = [
  "run",
  "check",
  "prepare",
  "layer",
  "log",
  "size",
  "base",
  "from",
  "subsets",
  "tears",
  "seed",
] as const;

function refuseTogether(options: CrashOptions, names: readonly (keyof CrashOptions)[], why: string): void {
  const given = names.find((name) => options[name] !== undefined);
  if (given !== undefined) throw usage(`--${given} ${why}`);
}

/** A session over a log that exists. @throws StackError usage, log-unusable */
function sessionOfLog(options: CrashOptions, check: string): Session {
  refuseTogether(options, ["run", "prepare", "layer"], "is for a stack that is recorded, not for a log");
  const base = options.base === undefined ? null : resolve(options.base);
  let sizeBytes = options.size;
  if (base !== null && sizeBytes === undefined) {
    const source = openSource(base, "disk image");
    sizeBytes = source.size;
    source.close();
  }
  if (sizeBytes === undefined) throw usage("--log needs --size, the size of the disk that was written to");
  return {
    version: 1,
    log: resolve(options.log ?? ""),
    base,
    sizeBytes,
    check,
    cwd: process.cwd(),
    above: null,
    workload: null,
    ...breadthOf(options),
  };
}

function breadthOf(options: CrashOptions): Pick<Session, "from" | "subsets" | "tears" | "seed"> {
  const { from = null, subsets = SUBSETS, tears = TEARS, seed = SEED } = options;
  return { from, subsets, tears, seed };
}

/** The folder of the exploration, and how to be rid of it. */
async function openFolder(resume: string | undefined): Promise<{ folder: string; kept: boolean }> {
  if (resume === undefined)
    return { folder: await mkdtemp(join(tmpdir(), "ublk-stack-crash-")), kept: false };
  const folder = resolve(resume);
  if (existsSync(folder) && !statSync(folder).isDirectory()) throw usage(`${resume} is no folder`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return { folder: realpathSync(folder), kept: true };
}

/** Runs the workload. @returns null when the stack's file is refused; that has been said */
async function recordedSession(
  invocation: Invocation,
  options: CrashOptions,
  check: string,
  { folder, say }: { folder: string; say: (doing: string) => void },
): Promise<Session | null> {
  const { run: workload, prepare, layer, timeout: timeoutMs } = options;
  if (workload === undefined) throw usage("crash needs --run with the workload, or --log with a log");
  refuseTogether(options, ["size", "base"], "is for a --log; a recording knows its disk");
  const stacks = await acceptedStacks(invocation);
  if (stacks === null) return null;
  const [stack, second] = stacks;
  if (stack === undefined || second !== undefined) throw usage("crash records one stack at a time");
  const { env, interrupted: signal } = invocation;
  const recorded = await record({
    document: stack.document,
    baseDir: stack.file.baseDir,
    layer,
    prepare,
    run: workload,
    folder,
    cwd: process.cwd(),
    env,
    timeoutMs,
    signal,
    say,
  });
  return { version: 1, check, ...breadthOf(options), ...recorded };
}

async function newSession(
  invocation: Invocation,
  options: CrashOptions,
  place: { folder: string; say: (doing: string) => void },
): Promise<Session | null> {
  const { check, log } = options;
  if (check === undefined) throw usage("crash needs --check");
  if (log === undefined) return await recordedSession(invocation, options, check, place);
  if (invocation.args.length > 0) throw usage("either a stack is recorded or a --log is explored");
  return sessionOfLog(options, check);
}

async function explore(session: Session, known: string | null, options: RunOptions): Promise<CrashReport> {
  const open = openSession(options.folder, session);
  try {
    return await runExploration(open, known, options);
  } finally {
    open.close();
  }
}

async function showState(
  folder: string,
  session: Session,
  { state = "", image, timeout: timeoutMs, output }: CrashOptions,
  { env, interrupted: signal, terminal }: Invocation,
): Promise<ExitStatus> {
  const open = openSession(folder, session);
  try {
    const path = image === undefined ? null : resolve(image);
    if (path !== null && existsSync(path)) throw usage(`${image} is there already`);
    const result = await runState(open, state, path, { env, timeoutMs, signal });
    if (output === "json") await printValue({ state, ...result }, output, terminal.out);
    else terminal.out.write(result.output);
    return result.ok ? 0 : 1;
  } finally {
    open.close();
  }
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const { rawOptions, terminal, env, interrupted: signal } = invocation;
  const options = rawOptions as unknown as CrashOptions;
  const {
    resume,
    state,
    jobs = availableParallelism(),
    timeout: timeoutMs,
    failFast = false,
    checkAll = false,
  } = options;
  const begun = resume === undefined ? null : readSession(resolve(resume));
  if (begun !== null) {
    refuseTogether(options, OF_SESSION, `is what ${resume} was begun with, and cannot be said again`);
    if (invocation.args.length > 0) throw usage(`${resume} was begun already; it needs no stack file`);
  }
  if (state !== undefined) {
    if (begun === null) throw usage("--state needs --resume with the folder of an exploration");
    return await showState(resolve(resume ?? ""), begun, options, invocation);
  }
  if (options.image !== undefined) throw usage("--image needs --state");

  const { folder, kept } = await openFolder(resume);
  let keep = kept;
  const progress = createStateProgress(terminal.err);
  try {
    const session = begun ?? (await newSession(invocation, options, { folder, say: progress.say }));
    if (session === null) return 2;
    const onProgress = progress.show;
    const runOptions = { folder, kept, jobs, timeoutMs, failFast, checkAll, env, signal, onProgress };
    const report = await explore(session, begun?.fingerprint ?? null, runOptions);
    progress.end();
    keep ||= report.smallest !== null;
    if (options.output === "json") await printValue(report, options.output, terminal.out);
    else terminal.out.line(renderReport(report));
    return report.smallest === null ? 0 : 1;
  } finally {
    progress.end();
    if (!keep) await rm(folder, { recursive: true, force: true });
  }
}
