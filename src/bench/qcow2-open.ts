/**
 * What opening a large image takes: a server process of its own from its start until it is ready, and its memory then, of a
 * disk that has nothing yet, and of one with all of its tables. After reads from all over the disk the cache of tables is full.
 */
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nbdIops } from "./fio.js";
import { qemuImg } from "./qcow2-images.js";
import { median, type Row } from "./result.js";
import { type Sandbox, startServer } from "./sandbox.js";
import { serverConfig } from "./server-config.js";

const MIB = 1 << 20;
const GOAL_MS = 50;
const GOAL_MIB = 40;

export interface Options {
  rounds: number;
  seconds: number;
  largeBytes: number;
  wanted(name: string): boolean;
}

/** The bytes of a server's processes, the supervisor's and the worker's; what they share is counted once, in the run folder. */
async function memory(supervisor: number): Promise<number> {
  const children = await readFile(`/proc/${supervisor}/task/${supervisor}/children`, "utf8");
  const pids = [supervisor, ...children.trim().split(" ").filter(Boolean).map(Number)];
  const sizes = await Promise.all(
    pids.map(async (pid) => {
      const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
      return (
        1024 *
        (Number(/^Pss_Anon:\s+(\d+)/m.exec(rollup)?.[1]) + Number(/^Pss_File:\s+(\d+)/m.exec(rollup)?.[1]))
      );
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** What lies in the run folder is memory as well, whether it is mapped or not. */
async function fileBytes(folder: string): Promise<number> {
  const names = await readdir(folder);
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).blocks * 512));
  return sizes.reduce((sum, size) => sum + size, 0);
}

const row = (name: string, unit: string, ours: number, goal?: number): Row => ({
  suite: "qcow2",
  name,
  unit,
  ours,
  better: "lower",
  ...(goal === undefined ? {} : { goal }),
});

async function measure(
  sandbox: Sandbox,
  image: string,
  options: Options,
): Promise<{ ms: number; opened: number; used: number }> {
  const runDir = join(sandbox.runDir, "open");
  const stateDir = join(sandbox.folder, "open");
  for (const made of [runDir, stateDir]) await mkdir(made, { recursive: true });
  const config = join(runDir, "config.json");
  const spec = {
    layers: {
      image: { file: { path: image, direct: "on" } },
      disk: { qcow2: { base: "image", size: options.largeBytes, create: "never" } },
    },
    exports: { data: { layer: "disk", frontend: "nbd" } },
  };
  await writeFile(config, JSON.stringify(serverConfig("open", spec, { runDir, stateDir })));
  const job = { name: "", rw: "randread", blockBytes: 4096, depth: 32 } as const;
  const uri = `nbd+unix:///data?socket=${runDir}/nbd.sock`;
  const times: number[] = [];
  const opened: number[] = [];
  const used: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const ms = await startServer(config, async (pid) => {
      opened.push((await memory(pid)) + (await fileBytes(runDir)));
      if (round > 0) return;
      await nbdIops(uri, job, options.seconds);
      used.push((await memory(pid)) + (await fileBytes(runDir)));
    });
    times.push(ms);
  }
  for (const made of [runDir, stateDir]) await rm(made, { recursive: true });
  return { ms: median(times), opened: median(opened) / MIB, used: median(used) / MIB };
}

export async function benchOpen(
  sandbox: Sandbox,
  options: Options,
  progress: (text: string) => void,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [what, preallocation] of [
    ["nothing in it", "off"],
    ["all tables", "metadata"],
  ] as const) {
    const name = `a disk of ${options.largeBytes / 2 ** 40} TiB with ${what}`;
    if (!options.wanted(name)) continue;
    progress(name);
    const image = join(sandbox.folder, "large.qcow2");
    await qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-o",
      `preallocation=${preallocation}`,
      image,
      `${options.largeBytes}`,
    );
    const { ms, opened, used } = await measure(sandbox, image, options);
    await rm(image);
    rows.push(
      row(`${name}: from the server's start until ready`, "ms", ms, GOAL_MS),
      row(`${name}: memory when ready`, "MiB", opened, GOAL_MIB),
      row(`${name}: memory after reads from all over it`, "MiB", used),
    );
  }
  return rows;
}
