/** Runs fio, a stranger's load generator, and reads what it measured. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Job {
  name: string;
  /** fio's rw=: randread, randwrite, read, write. */
  rw: "randread" | "randwrite" | "read" | "write";
  blockBytes: number;
  depth: number;
  /** Ends when every block has been there once, should that come before its time: what is written is written anew. */
  once?: boolean;
}

/** The jobs that the published figures are about. */
export const JOBS: readonly Job[] = [
  { name: "4 KiB random read, depth 32", rw: "randread", blockBytes: 4096, depth: 32 },
  { name: "4 KiB random write, depth 32", rw: "randwrite", blockBytes: 4096, depth: 32 },
  { name: "1 MiB sequential read, depth 4", rw: "read", blockBytes: 1 << 20, depth: 4 },
  { name: "1 MiB sequential write, depth 4", rw: "write", blockBytes: 1 << 20, depth: 4 },
];

interface Side {
  iops: number;
  clat_ns: { percentile?: Record<string, number> };
}

interface FioReport {
  jobs: { read: Side; write: Side; error: number }[];
}

async function fio(uri: string, args: readonly string[]): Promise<FioReport["jobs"][number]> {
  const { stdout } = await run(
    "fio",
    ["--ioengine=nbd", `--uri=${uri}`, "--randrepeat=1", "--output-format=json", ...args],
    { maxBuffer: 16 << 20 },
  );
  // fio may put a line of its own before the JSON.
  const report = JSON.parse(stdout.slice(stdout.indexOf("{"))) as FioReport;
  const [result] = report.jobs;
  if (result === undefined || result.error !== 0)
    throw new Error(`fio failed on ${uri}: error ${result?.error}`);
  return result;
}

/** IO operations per second over an NBD export; throws when fio reports an error. */
export async function nbdIops(uri: string, job: Job, seconds: number): Promise<number> {
  const result = await fio(uri, [
    `--name=${job.rw}`,
    `--rw=${job.rw}`,
    `--bs=${job.blockBytes}`,
    `--iodepth=${job.depth}`,
    ...(job.once === true ? [] : ["--time_based=1"]),
    `--runtime=${seconds}`,
  ]);
  return result.read.iops + result.write.iops;
}

/** How long random reads of 4 KiB took over an NBD export, in nanoseconds. */
export async function nbdReadLatency(
  uri: string,
  options: { depth: number; requests: number },
): Promise<{ median: number; p99: number }> {
  const { read } = await fio(uri, [
    "--name=randread",
    "--rw=randread",
    "--bs=4096",
    `--iodepth=${options.depth}`,
    "--norandommap=1",
    `--number_ios=${options.requests}`,
    "--percentile_list=50:99",
  ]);
  const of = (percentile: string) => read.clat_ns.percentile?.[percentile] ?? Number.NaN;
  return { median: of("50.000000"), p99: of("99.000000") };
}
