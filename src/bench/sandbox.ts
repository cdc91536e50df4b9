/** A folder and a controller of their own for a benchmark, driven through the command line as a user would. */
import { execFile, spawn } from "node:child_process";
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

/** Milliseconds until the server says that it is ready; it is stopped again before this returns. */
async function startServer(config: string): Promise<number> {
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
  child.kill("SIGTERM");
  await ended;
  if (!/"ready": *true/.test(said)) throw new Error(`the server did not start: ${said.trim()}`);
  return elapsed;
}

export interface Sandbox {
  folder: string;
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
  const environment = {
    ...process.env,
    UBLK_STACK_STATE_DIR: join(folder, "state"),
    UBLK_STACK_RUN_DIR: join(folder, "run"),
  };
  const cli = async (...args: string[]) =>
    (await run(process.execPath, [CLI, ...args], { env: environment, maxBuffer: 16 << 20 })).stdout;

  return {
    folder,
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
    controllerPid: () => readFile(join(folder, "run/controller.pid"), "utf8"),
    async serverStartMs(rounds) {
      const runDir = join(folder, "start");
      await mkdir(runDir, { recursive: true });
      const image = join(folder, "start.img");
      await writeFile(image, Buffer.alloc(MIB));
      const config = join(runDir, "config.json");
      const spec = {
        layers: { disk: { file: { path: image, size: MIB } } },
        exports: { data: { layer: "disk", frontend: "nbd" } },
      };
      await writeFile(config, JSON.stringify(serverConfig("start", spec, { runDir })));
      const times: number[] = [];
      for (let round = 0; round < rounds; round++) times.push(await startServer(config));
      return median(times);
    },
    async close() {
      await cli("delete", "--all");
      await cli("controller", "stop");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
