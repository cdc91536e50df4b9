/** A folder and a controller of their own for a benchmark, driven through the command line as a user would. */
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { promisify } from "node:util";
import { median } from "./result.js";
import { serverConfig } from "./server-config.js";

const run = promisify(execFile);

const CLI = resolve(import.meta.dirname, "../cli.js");
const SERVER = resolve(import.meta.dirname, "../../native/build/Release/ublk-stack-server");

/** Whether a program is installed. */
export async function onPath(program: string): Promise<boolean> {
  return run("sh", ["-c", `command -v "$0"`, program]).then(
    () => true,
    () => false,
  );
}

const MIB = 1 << 20;

/**
 * Milliseconds until the server says that it is ready; it is stopped again before this returns.
 * look: at the server that is ready, by its process.
 */
export async function startServer(config: string, look?: (pid: number) => Promise<void>): Promise<number> {
  const begin = process.hrtime.bigint();
  const child = spawn(SERVER, ["--config", config, "--ready-fd", "3"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const ended = new Promise<void>((done) => child.once("close", () => done()));
  let said = "";
  for await (const data of child.stdio[3] as Readable) {
    said += String(data);
    if (said.includes('"ready"')) break;
  }
  const elapsed = Number(process.hrtime.bigint() - begin) / 1e6;
  if (/"ready": *true/.test(said) && child.pid !== undefined) await look?.(child.pid);
  child.kill("SIGTERM");
  await ended;
  if (!/"ready": *true/.test(said)) throw new Error(`the server did not start: ${said.trim()}`);
  return elapsed;
}

export interface Sandbox {
  folder: string;
  /** On a tmpfs where there is one, as those that servers get by default are. */
  runDir: string;
  environment: NodeJS.ProcessEnv;
  apply(name: string, spec: object): Promise<void>;
  delete(name: string): Promise<void>;
  uri(name: string, exportName: string): Promise<string>;
  status(name: string): Promise<unknown>;
  controllerPid(): Promise<string>;
  /** Median milliseconds from the start of a server process until it says that it serves. */
  serverStartMs(rounds: number): Promise<number>;
  close(): Promise<void>;
}

/** `parent`: where the data goes; by default the temporary folder. */
export async function openSandbox(parent: string = tmpdir()): Promise<Sandbox> {
  const folder = await mkdtemp(join(parent, "ublk-stack-bench-"));
  const runDir = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : parent, "ublk-stack-bench-run-"));
  const environment = {
    ...process.env,
    UBLK_STACK_STATE_DIR: join(folder, "state"),
    UBLK_STACK_RUN_DIR: runDir,
  };
  const cli = async (...args: string[]) =>
    (await run(process.execPath, [CLI, ...args], { env: environment, maxBuffer: 16 << 20 })).stdout;

  return {
    folder,
    runDir,
    environment,
    async apply(name, spec) {
      const file = join(folder, `${name}.yaml`);
      // JSON is YAML.
      await writeFile(
        file,
        JSON.stringify({ apiVersion: "ublk-stack/v1", kind: "Stack", metadata: { name }, spec }),
      );
      await cli("apply", file);
    },
    async delete(name) {
      await cli("delete", name);
    },
    async uri(name, exportName) {
      const status = JSON.parse(await cli("status", name, "-o", "json")) as {
        items: { status: { exports: Record<string, { uri?: string }> } }[];
      };
      const uri = status.items[0]?.status.exports[exportName]?.uri;
      if (uri === undefined) throw new Error(`stack ${name} has no NBD export ${exportName}`);
      return uri;
    },
    async status(name) {
      return JSON.parse(await cli("status", name, "-o", "json"));
    },
    controllerPid: () => readFile(join(runDir, "controller.pid"), "utf8"),
    async serverStartMs(rounds) {
      const startDir = join(folder, "start");
      await mkdir(startDir, { recursive: true });
      const image = join(folder, "start.img");
      await writeFile(image, Buffer.alloc(MIB));
      const config = join(startDir, "config.json");
      const spec = {
        layers: { disk: { file: { path: image, size: MIB } } },
        exports: { data: { layer: "disk", frontend: "nbd" } },
      };
      await writeFile(config, JSON.stringify(serverConfig("start", spec, { runDir: startDir })));
      const times: number[] = [];
      for (let round = 0; round < rounds; round++) times.push(await startServer(config));
      return median(times);
    },
    async close() {
      await cli("delete", "--all");
      await cli("controller", "stop");
      for (const made of [folder, runDir]) await rm(made, { recursive: true, force: true });
    },
  };
}
