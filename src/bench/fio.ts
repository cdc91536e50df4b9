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
}

/** The jobs that the published figures are about. */
export const JOBS: readonly Job[] = [
  { name: "4 KiB random read, depth 32", rw: "randread", blockBytes: 4096, depth: 32 },
  { name: "4 KiB random write, depth 32", rw: "randwrite", blockBytes: 4096, depth: 32 },
  { name: "1 MiB sequential read, depth 4", rw: "read", blockBytes: 1 << 20, depth: 4 },
  { name: "1 MiB sequential write, depth 4", rw: "write", blockBytes: 1 << 20, depth: 4 },
];

interface FioReport {
  jobs: {
    read: { iops: number; bw_bytes: number };
    write: { iops: number; bw_bytes: number };
    error: number;
  }[];
}

/** IO operations per second over an NBD export; throws when fio reports an error. */
export async function nbdIops(uri: string, job: Job, seconds: number): Promise<number> {
  const { stdout } = await run(
    "fio",
    [
      `--name=${job.rw}`,
      "--ioengine=nbd",
      `--uri=${uri}`,
      `--rw=${job.rw}`,
      `--bs=${job.blockBytes}`,
      `--iodepth=${job.depth}`,
      "--time_based=1",
      `--runtime=${seconds}`,
      "--randrepeat=1",
      "--output-format=json",
    ],
    { maxBuffer: 16 << 20 },
  );
  // fio may put a line of its own before the JSON.
  const report = JSON.parse(stdout.slice(stdout.indexOf("{"))) as FioReport;
  const [result] = report.jobs;
  if (result === undefined || result.error !== 0)
    throw new Error(`fio failed on ${uri}: error ${result?.error}`);
  return result.read.iops + result.write.iops;
}
