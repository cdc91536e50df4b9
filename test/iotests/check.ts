/** Runs QEMU's `check` over some of its iotests, with our stand-in for qemu-io, and reads what came of them. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Account, startBroker } from "./broker.js";

/** What fetch.sh says when the tests cannot be had. */
const EXIT_UNAVAILABLE = 77;

export interface Outcome {
  readonly status: "pass" | "fail" | "not run";
  /** check's own words for it. */
  readonly reason: string;
  readonly seconds: number;
  /** Expected output against what came; empty where it passed. */
  readonly difference: string;
  readonly account: Account;
}

const call = (program: string, args: string[], options: object = {}) =>
  new Promise<{ status: unknown; stdout: string; stderr: string }>((done) => {
    execFile(program, args, { maxBuffer: 1 << 26, ...options }, (error, stdout, stderr) =>
      done({ status: error === null ? 0 : error.code, stdout, stderr }),
    );
  });

/** The folder of the installed QEMU's tests, or why there is none on this machine. */
export async function fetchTests(): Promise<{ folder: string } | { unavailable: string }> {
  const { status, stdout, stderr } = await call("bash", [join(import.meta.dirname, "fetch.sh")]);
  if (status === EXIT_UNAVAILABLE) return { unavailable: stderr.trim() };
  if (status !== 0) throw new Error(`fetch.sh ended with ${status}: ${stderr}`);
  return { folder: join(stdout.trim(), "tests/qemu-iotests") };
}

/** As the table of expectations has it: 7.2. */
export async function qemuVersion(): Promise<string> {
  const { stdout } = await call("qemu-img", ["--version"]);
  return /version (\d+\.\d+)/.exec(stdout)?.[1] ?? "none";
}

/** Names of all tests, whatever format they are for. */
export async function testsOf(folder: string): Promise<string[]> {
  const args = ["check", "-qcow2", "-n"];
  const { status, stdout, stderr } = await call("python3", args, { cwd: folder, env: environment("", "") });
  if (status !== 0) throw new Error(`check -n ended with ${status}: ${stderr}`);
  // check prints them with their folder, and takes them without.
  return stdout
    .trim()
    .split("\n")
    .map((name) => name.replace("tests/", ""));
}

/** @param jobs how many at a time */
export async function runTests(
  folder: string,
  names: readonly string[],
  options: { jobs?: number; onLine?: (line: string) => void; keep?: string } = {},
): Promise<Map<string, Outcome>> {
  const scratch = options.keep ?? (await mkdtemp(join(tmpdir(), "iotests-scratch-")));
  const broker = await startBroker();
  try {
    // More than one job, or the tests share a folder.
    const args = ["check", "-qcow2", "-j", String(Math.max(2, options.jobs ?? 2)), ...names];
    const child = spawn("python3", args, {
      cwd: folder,
      env: environment(scratch, broker.socket),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    process.once("exit", () => endGroup(child));
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (part: string) => {
        text += part;
        for (const line of part.split("\n")) options.onLine?.(line);
      });
    }
    await new Promise((done, failed) => {
      child.once("error", failed);
      child.once("close", done);
    });
    const outcomes = new Map<string, Outcome>();
    for (const name of names) {
      const outcome = await outcomeOf(text, name, folder, scratch, broker.account(name));
      if (outcome === null) throw new Error(`check says nothing of ${name}:\n${text}`);
      outcomes.set(name, outcome);
    }
    return outcomes;
  } finally {
    await broker.close();
    if (options.keep === undefined) await rm(scratch, { recursive: true, force: true });
  }
}

/** With all that it has started: an interrupted run leaves no tests behind. */
function endGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGKILL");
}

/** @param scratch "": for a run of check that starts no test */
function environment(scratch: string, socket: string): NodeJS.ProcessEnv {
  const program = (name: string) =>
    (process.env.PATH ?? "")
      .split(":")
      .map((folder) => resolve(folder, name))
      .find(existsSync) ?? name;
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    LANG: "C",
    QEMU_PROG: program("qemu-system-x86_64"),
    QEMU_IMG_PROG: program("qemu-img"),
    QEMU_IO_PROG: join(import.meta.dirname, "qemu-io.mjs"),
    QEMU_NBD_PROG: program("qemu-nbd"),
    QSD_PROG: program("qemu-storage-daemon"),
    IOTESTS_BROKER: socket,
    IOTESTS_QEMU_IO: program("qemu-io"),
    ...(scratch === "" ? {} : { TEST_DIR: join(scratch, "t"), SOCK_DIR: join(scratch, "s") }),
  };
}

async function outcomeOf(
  text: string,
  name: string,
  folder: string,
  scratch: string,
  account: Account,
): Promise<Outcome | null> {
  const line = text
    .split("\n")
    .map((each) =>
      /^(\S+)\s+(pass|fail|not run)\s+\[\S+\]\s+\[\S+\]\s*(?:([\d.]+)s|\.\.\.)?\s*(?:\(last: \S+\))?\s*(.*)$/.exec(
        each,
      ),
    )
    .find((match) => match?.[1] === name);
  if (line === undefined || line === null) return null;
  const status = line[2] as Outcome["status"];
  return {
    status,
    reason: (line[4] ?? "").trim(),
    seconds: Number(line[3] ?? 0),
    difference: status === "fail" ? await differenceOf(name, folder, join(scratch, "t", name)) : "",
    account,
  };
}

async function differenceOf(name: string, folder: string, scratch: string): Promise<string> {
  const bad = join(scratch, `${name}.out.bad`);
  const expected = [`${name}.out.qcow2`, `${name}.pc.out`, `${name}.out`]
    .flatMap((file) => [join(folder, file), join(folder, "tests", file)])
    .find(existsSync);
  if (expected === undefined) return readFileSync(bad, "utf8");
  return (await call("diff", ["-u", "-b", expected, bad])).stdout;
}
