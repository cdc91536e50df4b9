/**
 * The layer qcow2 over NBD against QEMU's own servers: the same image, the same client, in turn within one run. Rounds go
 * round all servers of an image before the next round begins, and each begins with another one; a figure is the median of
 * its rounds, and goals are held against the better peer.
 */
import { rm } from "node:fs/promises";
import { type Job, nbdIops } from "./fio.js";
import { type Chain, OURS, OURS_BY_DEFAULT, type Server, servers } from "./qcow2-contenders.js";
import { allocated, compressed, empty, overThreeBackingFiles } from "./qcow2-images.js";
import { benchOpen } from "./qcow2-open.js";
import { median, type Row } from "./result.js";
import type { Sandbox } from "./sandbox.js";

export interface Options {
  rounds: number;
  seconds: number;
  sizeBytes: number;
  /** Of the disk whose opening is timed. */
  largeBytes: number;
  /** Only rows whose name has one of these in it; all without. */
  rows?: readonly string[] | undefined;
}

interface Measured {
  job: Job;
  goal: number;
}

/** One image and what is done to it. */
interface Subject {
  make(folder: string): Promise<Chain>;
  /** Made again for every server and round, as what is measured uses it up. */
  anew: boolean;
  /** Whether ourselves through the page cache are measured, too. */
  byDefault: boolean;
  jobs: Measured[];
}

const KIB = 1 << 10;
const MIB = 1 << 20;

const job = (
  name: string,
  rw: Job["rw"],
  blockBytes: number,
  depth: number,
  goal: number,
  once?: boolean,
): Measured => ({
  job: { name, rw, blockBytes, depth, ...(once === undefined ? {} : { once }) },
  goal,
});

function subjects(sizeBytes: number): Subject[] {
  const random = (what: string, depth: number, goal: number) =>
    job(`4 KiB random read${what}, depth ${depth}`, "randread", 4 * KIB, depth, goal);
  const kept = { anew: false, byDefault: false };
  return [
    {
      make: (folder) => allocated(folder, sizeBytes),
      anew: false,
      byDefault: true,
      jobs: [
        random("", 1, 1),
        random("", 32, 1.5),
        job("4 KiB random write, depth 1", "randwrite", 4 * KIB, 1, 1),
        job("4 KiB random write, depth 32", "randwrite", 4 * KIB, 32, 1.5),
        job("1 MiB sequential read, depth 4", "read", MIB, 4, 1),
        job("1 MiB sequential write, depth 4", "write", MIB, 4, 1),
      ],
    },
    {
      make: (folder) => empty(folder, 4 * sizeBytes),
      anew: true,
      byDefault: true,
      jobs: [job("64 KiB random write that allocates, depth 16", "randwrite", 64 * KIB, 16, 1, true)],
    },
    {
      make: (folder) => empty(folder, 4 * sizeBytes),
      anew: true,
      byDefault: false,
      jobs: [job("1 MiB sequential write that allocates, depth 4", "write", MIB, 4, 1, true)],
    },
    {
      ...kept,
      make: (folder) => overThreeBackingFiles(folder, sizeBytes),
      jobs: [1, 32].map((depth) => random(" through three backing files", depth, 1)),
    },
    ...(["zlib", "zstd"] as const).map(
      (type): Subject => ({
        ...kept,
        make: (folder) => compressed(folder, sizeBytes / 4, type),
        jobs: [
          random(`, ${type}`, 1, 1),
          random(`, ${type}`, 32, 1),
          job(`1 MiB sequential read, ${type}, depth 4`, "read", MIB, 4, 1),
        ],
      }),
    ),
  ];
}

type Figures = Map<string, number[]>;
const key = (server: string, name: string) => `${server}\n${name}`;

/** One after the other: they lock the image against each other, and two would share the processors. */
async function measure(
  subject: Subject,
  list: readonly Server[],
  sandbox: Sandbox,
  options: Options,
  progress: (text: string) => void,
): Promise<Figures> {
  const figures: Figures = new Map();
  let chain = subject.anew ? [] : await subject.make(sandbox.folder);
  for (let round = 0; round < options.rounds; round++) {
    for (let turn = 0; turn < list.length; turn++) {
      const server = list[(turn + round) % list.length] as Server;
      if (subject.anew) chain = await subject.make(sandbox.folder);
      const contender = await server.start(chain);
      try {
        for (const { job } of subject.jobs) {
          progress(`round ${round + 1} of ${options.rounds}: ${server.name}: ${job.name}`);
          const of = key(server.name, job.name);
          figures.set(of, [...(figures.get(of) ?? []), await nbdIops(contender.uri, job, options.seconds)]);
        }
      } finally {
        await contender.stop();
      }
    }
  }
  for (const file of chain) await rm(file);
  return figures;
}

function rowsOf(subject: Subject, list: readonly Server[], figures: Figures): Row[] {
  return subject.jobs.flatMap(({ job, goal }) => {
    const of = (name: string) => median(figures.get(key(name, job.name)) ?? []);
    const peers = list
      .filter(({ ours }) => !ours)
      .map(({ name }) => ({ name, value: of(name) }))
      .sort((a, b) => b.value - a.value);
    const row = { suite: "qcow2", unit: "IO/s", better: "higher" } as const;
    const [better] = peers;
    return [
      ...peers.map(
        (peer, place): Row => ({
          ...row,
          name: job.name,
          ours: of(OURS),
          peer,
          ...(place === 0 ? { goal } : {}),
        }),
      ),
      ...(list.some(({ name }) => name === OURS_BY_DEFAULT) && better !== undefined
        ? [{ ...row, name: `${job.name}: our default, page cache`, ours: of(OURS_BY_DEFAULT), peer: better }]
        : []),
    ];
  });
}

export async function benchQcow2(
  sandbox: Sandbox,
  options: Options,
  progress: (text: string) => void,
): Promise<Row[]> {
  const wanted = (name: string) => options.rows?.some((part) => name.includes(part)) ?? true;
  const list = await servers(sandbox);
  const rows: Row[] = [];
  for (const whole of subjects(options.sizeBytes)) {
    const subject = { ...whole, jobs: whole.jobs.filter(({ job }) => wanted(job.name)) };
    if (subject.jobs.length === 0) continue;
    const contenders = list.filter(({ name }) => subject.byDefault || name !== OURS_BY_DEFAULT);
    rows.push(...rowsOf(subject, contenders, await measure(subject, contenders, sandbox, options, progress)));
  }
  return [...rows, ...(await benchOpen(sandbox, { ...options, wanted }, progress))];
}
