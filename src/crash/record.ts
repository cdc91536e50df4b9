/** Recording: the stack in private, the workload against it, and the log of what the chosen layer was told to write. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { StackError } from "../errors.js";
import type { StatusItem } from "../reconcile/status-schema.js";
import type { StackDocument } from "../spec/index.js";
import { type CommandResult, howItEnded, runCommand, succeeded } from "./command.js";
import { diskEnvironment } from "./environment.js";
import { BENEATH_EXPORT, planRecording, type RecordingPlan } from "./model/recording.js";
import { fileFor } from "./nbd-file.js";
import { openPrivateHost, type PrivateHost } from "./private-host.js";
import { DISK_PATH, recordedBase, recordedLog, type Session } from "./session.js";

const run = promisify(execFile);

/** The log's file is sparse: this is what it may grow to. */
const LOG_BYTES = 2 ** 40;

export interface RecordOptions {
  readonly document: StackDocument;
  /** Where its relative paths start. */
  readonly baseDir: string;
  readonly layer: string | undefined;
  readonly prepare: string | undefined;
  readonly run: string;
  readonly folder: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly say: (doing: string) => void;
}

export type Recorded = Pick<Session, "log" | "base" | "sizeBytes" | "above" | "workload" | "cwd">;

/** Copies of the user's files; @returns whether any of them held something */
async function copyLeaves(
  plan: RecordingPlan,
  { baseDir, folder }: RecordOptions,
): Promise<{ places: ReadonlyMap<string, string>; filled: boolean }> {
  const places = new Map<string, string>();
  let filled = false;
  for (const { name, path } of plan.leaves) {
    const place = join(folder, `leaf-${name}.img`);
    places.set(name, place);
    const source = path === null ? null : resolve(baseDir, path);
    if (source === null || !existsSync(source)) continue;
    await run("cp", ["--sparse=always", "--reflink=auto", "--", source, place]);
    filled = true;
  }
  return { places, filled };
}

function exportOf(item: StatusItem, name: string) {
  const found = item.status.exports[name];
  if (found === undefined) throw new StackError("stack-failed", `the stack has no export ${name}`);
  return found;
}

/** Runs a command against an export: by device, by NBD, and as a file where that can be had. */
async function runAgainst(
  item: StatusItem,
  exportName: string,
  command: string,
  { cwd, env, timeoutMs, signal }: RecordOptions,
): Promise<CommandResult> {
  const { device, uri } = exportOf(item, exportName);
  const file = uri === null ? null : await fileFor(command, uri);
  try {
    const reach = {
      ...(uri === null ? {} : { uri }),
      ...(device === null ? {} : { device, file: device }),
      ...(file === null ? {} : { file: file.path }),
    };
    return await runCommand(command, { cwd, env: diskEnvironment(env, reach), timeoutMs, signal });
  } finally {
    await file?.close();
  }
}

async function mustRun(
  what: string,
  host: PrivateHost,
  spec: object,
  exportName: string,
  command: string,
  options: RecordOptions,
): Promise<CommandResult> {
  const item = await host.apply(spec, options.signal);
  options.say(what);
  const result = await runAgainst(item, exportName, command, options);
  if (!succeeded(result)) {
    const said = result.output.trim() || "(no output)";
    throw new StackError("workload-failed", `the ${what} ${howItEnded(result)}: ${said}`, { ...result });
  }
  return result;
}

/** What the recorded layer holds before the workload, as a sparse image. */
async function keepBase(
  host: PrivateHost,
  plan: RecordingPlan,
  places: ReadonlyMap<string, string>,
  { folder, signal }: RecordOptions,
): Promise<void> {
  const item = await host.apply(plan.beneath(places), signal);
  const { uri } = exportOf(item, BENEATH_EXPORT);
  await run("nbdcopy", [uri ?? "", recordedBase(folder)], { signal });
  await host.delete();
}

/**
 * @throws StackError not-recordable, workload-failed, and whatever an apply throws; the signal's reason when aborted
 */
export async function record(options: RecordOptions): Promise<Recorded> {
  const { document, baseDir, folder, say } = options;
  const plan = planRecording(document, options.layer);
  const leafFolder = join(folder, "leaves");
  await mkdir(leafFolder, { recursive: true, mode: 0o700 });
  const host = await openPrivateHost(baseDir);
  try {
    const { places, filled } = await copyLeaves(plan, { ...options, folder: leafFolder });
    const { prepare } = options;
    if (prepare !== undefined) {
      await mustRun("preparation", host, plan.plain(places), plan.exportName, prepare, options);
      await host.delete();
    }
    const based = filled || prepare !== undefined;
    if (based) {
      say("copying what the disk holds");
      await keepBase(host, plan, places, options);
    }
    const spec = plan.recorded(places, { path: recordedLog(folder), sizeBytes: LOG_BYTES });
    const result = await mustRun("workload", host, spec, plan.exportName, options.run, options);
    const sizeBytes = await host.layerBytes(plan.layer);
    // What the log has not written yet it writes when the stack goes down.
    await host.delete();
    return {
      log: "write.log",
      base: based ? "base.img" : null,
      sizeBytes,
      cwd: options.cwd,
      above: plan.direct ? null : { name: plan.exportName, spec: plan.above(DISK_PATH, sizeBytes) },
      workload: { run: options.run, ...result },
    };
  } finally {
    await host.close();
    await rm(leafFolder, { recursive: true, force: true });
  }
}
