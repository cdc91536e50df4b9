/**
 * Native over NBD: our server, nbdkit's file plugin and qemu-storage-daemon serve the same file to the same client,
 * fio's nbd engine, in turn within one run. The figure is the median over the rounds.
 */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { JOBS, nbdIops } from "./fio.js";
import { type Contender, peer } from "./peer.js";
import { median, type Row } from "./result.js";
import { onPath, type Sandbox } from "./sandbox.js";

const nbdkit = (socket: string, file: string) =>
  peer("nbdkit file", socket, `nbd+unix:///?socket=${socket}`, [
    "nbdkit",
    "--foreground",
    "--exit-with-parent",
    "--unix",
    socket,
    "file",
    file,
  ]);

const qemuStorageDaemon = (socket: string, file: string) =>
  peer("qemu-storage-daemon", socket, `nbd+unix:///data?socket=${socket}`, [
    "qemu-storage-daemon",
    "--blockdev",
    `driver=file,filename=${file},node-name=disk`,
    "--nbd-server",
    `addr.type=unix,addr.path=${socket}`,
    "--export",
    "type=nbd,id=e,node-name=disk,name=data,writable=on",
  ]);

async function ours(sandbox: Sandbox, file: string, sizeBytes: number): Promise<Contender> {
  await sandbox.apply("bench", {
    layers: { disk: { file: { path: file, size: sizeBytes } } },
    exports: { data: { layer: "disk", frontend: "nbd" } },
  });
  return { name: "ublk-stack", uri: await sandbox.uri("bench", "data"), stop: () => sandbox.delete("bench") };
}

/** A file whose blocks are all there, so that no contender pays for allocating them. */
async function filled(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, "w");
  const block = Buffer.alloc(1 << 20, 0x5a);
  for (let at = 0; at < sizeBytes; at += block.length) await file.write(block, 0, block.length, at);
  await file.sync();
  await file.close();
}

/** Rows for every job against each peer that is installed; the goal is set against the better one. */
export async function benchNbd(
  sandbox: Sandbox,
  options: { rounds: number; seconds: number; sizeBytes: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  const file = join(sandbox.folder, "disk.img");
  await filled(file, options.sizeBytes);
  const start: (() => Promise<Contender>)[] = [() => ours(sandbox, file, options.sizeBytes)];
  if (await onPath("nbdkit")) start.push(() => nbdkit(join(sandbox.folder, "nbdkit.sock"), file));
  if (await onPath("qemu-storage-daemon"))
    start.push(() => qemuStorageDaemon(join(sandbox.folder, "qsd.sock"), file));

  const figures = new Map<string, number[]>();
  for (let round = 0; round < options.rounds; round++) {
    for (const begin of start) {
      // One at a time: they lock the file against each other, and two servers would share the processors.
      const contender = await begin();
      try {
        for (const job of JOBS) {
          progress(`round ${round + 1} of ${options.rounds}: ${contender.name}: ${job.name}`);
          const key = `${contender.name}\n${job.name}`;
          figures.set(key, [...(figures.get(key) ?? []), await nbdIops(contender.uri, job, options.seconds)]);
        }
      } finally {
        await contender.stop();
      }
    }
  }

  const of = (name: string, job: string) => median(figures.get(`${name}\n${job}`) ?? []);
  return JOBS.flatMap((job) => {
    const peers = ["nbdkit file", "qemu-storage-daemon"]
      .map((name) => ({ name, value: of(name, job.name) }))
      .filter(({ value }) => !Number.isNaN(value))
      .sort((a, b) => b.value - a.value);
    return peers.map(
      (against, place): Row => ({
        suite: "nbd",
        name: job.name,
        unit: "IO/s",
        ours: of("ublk-stack", job.name),
        peer: against,
        better: "higher",
        ...(place === 0 ? { goal: 1 } : {}),
      }),
    );
  });
}
