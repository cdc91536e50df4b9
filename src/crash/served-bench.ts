/**
 * Checks that see an export of a fresh stack above the rebuilt disk. Each state gets a server of its own, so that
 * nothing that a layer remembers goes from one to the next.
 */

import { spawn } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { serverConfig } from "../bench/server-config.js";
import { StackError } from "../errors.js";
import { type CommandResult, runCommand } from "./command.js";
import { diskEnvironment } from "./environment.js";
import type { Bench, Checked } from "./explore.js";
import type { BenchOptions } from "./file-bench.js";
import { fileFor } from "./nbd-file.js";
import type { RebuiltDisk } from "./rebuilt-disk.js";
import { DISK_PATH, type StackAbove } from "./session.js";

const SERVER = resolve(import.meta.dirname, "../../native/build/Release/ublk-stack-server");
const START_MS = 60_000;
const STOP_MS = 30_000;

interface Served {
  readonly uri: string;
  close(): Promise<void>;
}

/** The last line that matters: ready, or why not. */
async function readyLine(pipe: Readable): Promise<{ ready?: boolean; error?: { message?: string } }> {
  for await (const line of createInterface({ input: pipe })) {
    if (line.includes('"ready"')) return JSON.parse(line);
  }
  return {};
}

async function serve(config: string, exportName: string): Promise<Served> {
  const runDir = dirname(config);
  const child = spawn(SERVER, ["--config", config, "--ready-fd", "3"], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  let words = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    words += text;
  });
  const ended = new Promise<void>((done, failed) => {
    child.once("error", failed);
    child.once("close", () => done());
  });
  const late = setTimeout(() => child.kill("SIGKILL"), START_MS);
  const line = await Promise.race([readyLine(child.stdio[3] as Readable), ended.then(() => ({}) as never)]);
  clearTimeout(late);
  const close = async () => {
    child.kill("SIGTERM");
    const kill = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(kill);
  };
  if (line.ready !== true) {
    await close();
    throw new StackError(
      "server-start",
      `no server above the rebuilt disk: ${line.error?.message ?? words.trim()}`,
    );
  }
  return { uri: `nbd+unix:///${exportName}?socket=${join(runDir, "nbd.sock")}`, close };
}

/**
 * @param disk the job's own
 * @param runDir the job's own, for sockets
 */
export function servedBench(
  disk: RebuiltDisk,
  runDir: string,
  above: StackAbove,
  options: BenchOptions,
): Bench {
  const { check, cwd, timeoutMs, signal } = options;
  const wantsFile = check.includes("UBLK_STACK_FILE");
  const configFile = join(runDir, "config.json");

  const prepare = async () => {
    await rm(runDir, { recursive: true, force: true });
    await mkdir(runDir, { mode: 0o700 });
    const spec = JSON.parse(
      JSON.stringify(above.spec).replaceAll(JSON.stringify(DISK_PATH), JSON.stringify(disk.path)),
    );
    await writeFile(configFile, JSON.stringify(serverConfig("rebuilt", spec, { runDir })));
  };

  const checkServed = async (): Promise<CommandResult> => {
    const served = await serve(configFile, above.name);
    try {
      const file = wantsFile ? await fileFor(check, served.uri) : null;
      try {
        const reach = { uri: served.uri, ...(file === null ? {} : { file: file.path }) };
        return await runCommand(check, {
          env: diskEnvironment(options.env, reach),
          cwd,
          timeoutMs,
          signal,
        });
      } finally {
        await file?.close();
      }
    } finally {
      await served.close();
    }
  };

  return {
    async check(composer, { epoch }): Promise<Checked> {
      disk.hold(composer, epoch);
      await prepare();
      const result = await checkServed();
      return { result, reads: disk.reads() };
    },
    renew: () => disk.renew(),
    async close() {
      await disk.close();
      await rm(runDir, { recursive: true, force: true });
    },
  };
}
