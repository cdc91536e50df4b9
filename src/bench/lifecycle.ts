/**
 * How fast stacks come up and what they cost while nothing happens: wall time of the command line with the
 * controller running, a server's own start, memory, and processor time when idle.
 */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { median, type Row } from "./result.js";
import type { Sandbox } from "./sandbox.js";

const MIB = 1 << 20;
const SETTLE_SECONDS = 45;

/** Ten layers in one stack: eight leaves, a stripe over four of them, a linear over all. */
const TEN_LAYERS = {
  layers: {
    ...Object.fromEntries(
      Array.from({ length: 8 }, (_, n) => [`d${n}`, { file: { path: `ten-d${n}.img`, size: 16 * MIB } }]),
    ),
    wide: { stripe: { members: ["d0", "d1", "d2", "d3"] } },
    all: { linear: { members: ["wide", "d4", "d5", "d6", "d7"] } },
  },
  exports: { data: { layer: "all" } },
};

interface DeviceStatus {
  serverPid: number | null;
  rssBytes: number | null;
}

async function server(sandbox: Sandbox, stack: string): Promise<DeviceStatus> {
  const status = (await sandbox.status(stack)) as { items: { status: { devices: DeviceStatus[] } }[] };
  const device = status.items[0]?.status.devices[0];
  if (device === undefined) throw new Error(`stack ${stack} has no server`);
  return device;
}

/** Seconds of processor time that a process has used, user and system (proc(5), /proc/PID/stat, fields 14 and 15). */
function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function residentBytes(pid: number): number {
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const begin = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - begin) / 1e9;
}

export async function benchLifecycle(
  sandbox: Sandbox,
  options: { rounds: number; idleSeconds: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  // The controller is started by this one and stays for all others.
  await sandbox.apply("first", { layers: { n: { null: { size: "1GiB" } } }, exports: { n: { layer: "n" } } });

  const applies: number[] = [];
  const unchanged: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    progress(`round ${round + 1} of ${options.rounds}: apply of ten layers`);
    applies.push(await seconds(() => sandbox.apply("ten", TEN_LAYERS)));
    unchanged.push(await seconds(() => sandbox.apply("ten", TEN_LAYERS)));
    if (round + 1 < options.rounds) await sandbox.delete("ten");
  }

  // Up to half a minute after the last request V8 collects garbage once more; that is the end of the work, not idling.
  progress(`${SETTLE_SECONDS + options.idleSeconds} s of nothing`);
  await pause(SETTLE_SECONDS * 1000);
  const { serverPid, rssBytes } = await server(sandbox, "ten");
  const controllerPid = Number.parseInt(await sandbox.controllerPid(), 10);
  const pids = [serverPid ?? 0, controllerPid];
  const before = pids.map(processorSeconds);
  await pause(options.idleSeconds * 1000);
  const used = pids.map((pid, index) => processorSeconds(pid) - (before[index] ?? 0));
  const idle = (used.reduce((sum, value) => sum + value, 0) / options.idleSeconds) * 100;

  const row = (name: string, unit: string, ours: number, goal?: number): Row => ({
    suite: "lifecycle",
    name,
    unit,
    ours,
    better: "lower",
    ...(goal === undefined ? {} : { goal }),
  });
  return [
    row("apply of ten layers until ready, command line included", "s", median(applies), 0.5),
    row("apply of the same again (nothing to do)", "s", median(unchanged)),
    row("a server from its start until ready", "ms", await sandbox.serverStartMs(options.rounds), 50),
    row("resident memory of a server", "MiB", (rssBytes ?? Number.NaN) / MIB, 16),
    row("resident memory of the controller", "MiB", residentBytes(controllerPid) / MIB, 120),
    row("processor use of server and controller when idle", "%", idle, 0.1),
  ];
}
