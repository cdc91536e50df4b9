/** One boot of the virtual machine in which contenders do the same jobs in turn: test/vm/measure.sh and its reports. */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Engine, type KernelName, type Poll, type StackName, serverConfigs } from "./stacks.js";

export const project = resolve(import.meta.dirname, "../..");
export const vm = join(project, "test/vm");

/** What vm.sh exits with when no virtual machine can be had. */
const EXIT_UNAVAILABLE = 77;

export type Contender =
  | { readonly name: KernelName; readonly kernel: true }
  | { readonly name: string; readonly stack: StackName; readonly engine: Engine; readonly poll: Poll };

export interface Job {
  readonly key: string;
  readonly name: string;
  /** fio's options. */
  readonly options: string;
}

/** One job of one contender in one round. */
export interface Measured {
  readonly iops: number;
  /** Median completion latency in nanoseconds. */
  readonly latencyNs: number;
  /** io_uring_enter calls of all servers per IO; 0 for the kernel's devices. */
  readonly entersPerIo: number;
  /** Processor time of all servers as a fraction of the job's time. */
  readonly serverCpu: number;
}

export interface VmRun {
  /** Of every round, in order. */
  measured(contender: string, job: string): readonly Measured[];
}

interface Options {
  contenders: readonly Contender[];
  jobs: readonly Job[];
  ios: number;
  rounds: number;
  /** For vm.sh, e.g. --icount. */
  machine: readonly string[];
}

interface FioSide {
  iops: number;
  runtime: number;
  clat_ns: { percentile?: Record<string, number> };
}

/** Clock ticks of /proc/PID/stat: USER_HZ of Linux. */
const TICKS_PER_SECOND = 100;

/** Runs a command in the virtual machine; throws when it cannot be had, with the reason, or when the command fails. */
export async function boot(machine: readonly string[], command: readonly string[]): Promise<void> {
  const child = spawn("bash", [join(vm, "vm.sh"), ...machine, "--timeout", "6000", "--", ...command], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr.on("data", (data: Buffer) => {
    complaint += data.toString();
  });
  const code = await new Promise<number | null>((done) => child.once("close", done));
  if (code === EXIT_UNAVAILABLE) throw new Error(complaint.trim());
  if (code !== 0)
    throw new Error(`the measurement in the virtual machine failed (exit ${code}): ${complaint.trim()}`);
}

async function read(folder: string, contender: string, job: string, round: number): Promise<Measured> {
  const stem = join(folder, `${contender}.${job}.${round}`);
  const report = JSON.parse(await readFile(`${stem}.json`, "utf8")) as {
    jobs: [{ read: FioSide; write: FioSide }];
  };
  const [{ read: reads, write: writes }] = report.jobs;
  const side = reads.iops > 0 ? reads : writes;
  const [enters = 0, requests = 0, ticks = 0] = (await readFile(`${stem}.servers`, "utf8"))
    .split(" ")
    .map(Number);
  return {
    iops: side.iops,
    latencyNs: side.clat_ns.percentile?.["50.000000"] ?? Number.NaN,
    entersPerIo: requests === 0 ? 0 : enters / requests,
    serverCpu: ticks / TICKS_PER_SECOND / (side.runtime / 1000),
  };
}

/** Throws when the machine cannot be had, with the reason, or when a contender fails. */
export async function runInVm({ contenders, jobs, ios, rounds, machine }: Options): Promise<VmRun> {
  // Below the project: the guest sees the host's files, but has a /tmp of its own.
  await mkdir(join(project, "build"), { recursive: true });
  const folder = await mkdtemp(join(project, "build/bench-"));
  try {
    const lines = contenders.map(
      (contender) => `${"kernel" in contender ? "kernel" : "ours"} ${contender.name}`,
    );
    await writeFile(join(folder, "contenders"), `${lines.join("\n")}\n`);
    await writeFile(join(folder, "jobs"), jobs.map(({ key, options }) => `${key} ${options}\n`).join(""));
    for (const contender of contenders) {
      if ("kernel" in contender) continue;
      const { name, stack, engine, poll } = contender;
      await mkdir(join(folder, name));
      for (const [index, config] of serverConfigs(name, stack, engine, poll).entries()) {
        await writeFile(join(folder, name, `${index}.json`), JSON.stringify(config));
      }
    }
    await boot(machine, ["bash", join(vm, "measure.sh"), folder, String(ios), String(rounds)]);
    const results = new Map<string, Measured[]>();
    for (const { name } of contenders) {
      for (const { key } of jobs) {
        const all: Measured[] = [];
        for (let round = 0; round < rounds; round++) all.push(await read(folder, name, key, round));
        results.set(`${name}.${key}`, all);
      }
    }
    return { measured: (contender, job) => results.get(`${contender}.${job}`) ?? [] };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
