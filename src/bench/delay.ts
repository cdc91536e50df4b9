/**
 * How late a delay is: our delay layer and nbdkit's delay filter, the same delay over the same kind of memory, beside each
 * other without any delay, so that what the way over NBD costs is taken off. The figures are medians over the rounds.
 */
import { join } from "node:path";
import { nbdReadLatency } from "./fio.js";
import { type Contender, peer } from "./peer.js";
import { median, type Row } from "./result.js";
import type { Sandbox } from "./sandbox.js";

const DELAY_NS = 1_000_000;
const DEPTHS = [1, 16] as const;

async function ours(sandbox: Sandbox, delayed: boolean): Promise<Contender> {
  const base = { memory: { size: "16MiB" } };
  await sandbox.apply("late", {
    layers: { top: delayed ? { delay: { base, read: "1ms" } } : base },
    exports: { data: { layer: "top", frontend: "nbd" } },
  });
  return { name: "ublk-stack", uri: await sandbox.uri("late", "data"), stop: () => sandbox.delete("late") };
}

function nbdkit(sandbox: Sandbox, delayed: boolean): Promise<Contender> {
  const socket = join(sandbox.folder, "delay.sock");
  return peer("nbdkit delay", socket, `nbd+unix:///?socket=${socket}`, [
    "nbdkit",
    "--foreground",
    "--exit-with-parent",
    "--unix",
    socket,
    ...(delayed ? ["--filter=delay"] : []),
    "memory",
    "16M",
    ...(delayed ? ["rdelay=1ms"] : []),
  ]);
}

/** Rows of lateness in microseconds, against nbdkit. */
export async function benchDelay(
  sandbox: Sandbox,
  options: { rounds: number; requests: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const depth of DEPTHS) {
    const late = {
      ours: { median: [] as number[], p99: [] as number[] },
      peer: { median: [] as number[], p99: [] as number[] },
    };
    for (let round = 0; round < options.rounds; round++) {
      for (const [who, start] of [
        ["ours", ours],
        ["peer", nbdkit],
      ] as const) {
        progress(`depth ${depth}, round ${round + 1} of ${options.rounds}: ${who}`);
        const taken = [];
        for (const delayed of [false, true]) {
          const contender = await start(sandbox, delayed);
          try {
            taken.push(await nbdReadLatency(contender.uri, { depth, requests: options.requests }));
          } finally {
            await contender.stop();
          }
        }
        const [plain, slow] = taken;
        if (plain === undefined || slow === undefined) continue;
        for (const figure of ["median", "p99"] as const)
          late[who][figure].push((slow[figure] - DELAY_NS - plain.median) / 1000);
      }
    }
    for (const figure of ["median", "p99"] as const)
      rows.push({
        suite: "delay",
        name: `lateness of a read delayed by 1 ms, depth ${depth}, ${figure}`,
        unit: "µs",
        ours: median(late.ours[figure]),
        peer: { name: "nbdkit delay", value: median(late.peer[figure]) },
        better: "lower",
        goal: 1,
      });
  }
  return rows;
}
