/**
 * A real server for one stack of NBD exports in a folder of its own, and the programs of others that judge it.
 *
 * UBLK_STACK_SERVER names another server program than the build's.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable } from "node:stream";
import { serverConfig } from "../../src/bench/server-config.js";

export const MIB = 1 << 20;

const SERVER =
  process.env.UBLK_STACK_SERVER ??
  resolve(import.meta.dirname, "../../native/build/Release/ublk-stack-server");

export interface Result {
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs any program to its end, whatever its exit status; never longer than a minute. */
export function run(program: string, args: readonly string[], cwd?: string): Promise<Result> {
  return new Promise((done, failed) => {
    const options = { maxBuffer: 64 * MIB, timeout: 60_000, ...(cwd === undefined ? {} : { cwd }) };
    execFile(program, [...args], options, (error, stdout, stderr) => {
      const status = error === null ? 0 : error.code;
      if (typeof status === "number") done({ status, stdout, stderr });
      else failed(new Error(`${program} ${args.join(" ")}: ${error?.message ?? "was killed"}`));
    });
  });
}

/** Runs a program that must succeed and gives its output. */
export async function output(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, cwd);
  if (status !== 0)
    throw new Error(`${program} ${args.join(" ")} ended with ${status}:\n${stdout}\n${stderr}`);
  return stdout;
}

/** qemu-io's commands on an export, in one process. It prints failures and still ends well: they are looked for. */
export async function qemuIo(uri: string, ...commands: string[]): Promise<string> {
  return output("qemu-io", ["-f", "raw", uri, ...commands.flatMap((command) => ["-c", command])]);
}

const FAILURE = /failed|Pattern verification|command not found|non-integer|argument/i;

/** What it says, however it ends. */
export async function qemuIoSays(uri: string, ...commands: string[]): Promise<string> {
  const { stdout, stderr } = await run("qemu-io", ["-f", "raw", uri, ...commands.flatMap((c) => ["-c", c])]);
  return stdout + stderr;
}

/** Commands of which none may fail. */
export async function qemuIoOk(uri: string, ...commands: string[]): Promise<void> {
  const text = await qemuIo(uri, ...commands);
  if (FAILURE.test(text)) throw new Error(`qemu-io: ${text}`);
}

export interface Server {
  /** Where its files are; also the run directory. */
  readonly folder: string;
  readonly socket: string;
  uri(exportName?: string): string;
  /** One line to the control socket and the answer. */
  control(request: object): Promise<Record<string, unknown>>;
  /** Everything that the server has written to its log so far. */
  log(): string;
  /** Sends SIGTERM and waits for the end; gives the exit status. */
  stop(): Promise<number | null>;
  /** Ends all of its processes at once, so that it can tidy nothing up. */
  kill(): Promise<void>;
  readonly process: ChildProcess;
  close(): Promise<void>;
}

export interface ServerOptions {
  /** Changes config.json before the server sees it. */
  readonly adjust?: (config: Config) => void;
}

/** The parts of config.json that tests change. */
export interface Config {
  table: {
    layers: { name: string; readOnly: boolean; params: Record<string, unknown>; sizeBytes: number }[];
    exports: { name: string; root: number; readOnly: boolean }[];
    access: { owner: string | null; group: string | null; mode: string };
  };
  runtime: Record<string, unknown> & { paths: Record<string, string>; nbdSocket?: string; tcp?: string };
}

/** A spec with paths relative to the folder: their files are made, sparse, and those that grow empty. */
export async function configure(
  folder: string,
  spec: { layers: Record<string, object>; exports: Record<string, object> },
  options: ServerOptions = {},
): Promise<string> {
  const layers = Object.fromEntries(
    Object.entries(spec.layers).map(([name, layer]) => {
      const file = (layer as { file?: { path: string } }).file;
      return [
        name,
        file === undefined ? layer : { ...layer, file: { ...file, path: join(folder, file.path) } },
      ];
    }),
  );
  const config = serverConfig("test", { ...spec, layers }, { runDir: folder }) as Config;
  for (const layer of config.table.layers) {
    const path = config.runtime.paths[layer.name];
    if (path === undefined) continue;
    if (layer.params.grows === true) {
      await (await open(path, "a")).close();
      continue;
    }
    const handle = await open(path, "a");
    if ((await handle.stat()).size < layer.sizeBytes) await handle.truncate(layer.sizeBytes);
    await handle.close();
  }
  options.adjust?.(config);
  const path = join(folder, "config.json");
  await writeFile(path, JSON.stringify(config));
  return path;
}

/** One file of that many bytes, exported as "data". */
export const oneFile = (size: number, more: object = {}) => ({
  layers: { disk: { file: { path: "disk.img", size, ...more } } },
  exports: { data: { layer: "disk", frontend: "nbd" } },
});

export const temporaryFolder = (): Promise<string> => mkdtemp(join(tmpdir(), "ublk-stack-nbd-"));

/** Waits for the first line that a stream gives. */
async function firstLine(stream: Readable): Promise<string | undefined> {
  const lines: Interface = createInterface({ input: stream });
  for await (const line of lines) if (/"ready"/.test(line)) return line;
  return undefined;
}

/** Starts a server and waits until it says that it serves. */
export async function startServer(
  spec: Parameters<typeof configure>[1],
  options: ServerOptions & { folder?: string } = {},
): Promise<Server> {
  const folder = options.folder ?? (await temporaryFolder());
  const config = await configure(folder, spec, options);
  const child = spawn(SERVER, ["--config", config, "--ready-fd", "3"], {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  const ended = new Promise<number | null>((done, failed) => {
    child.once("error", failed);
    child.once("close", done);
  });
  const line = await Promise.race([firstLine(child.stdio[3] as Readable), ended.then(() => undefined)]);
  if (line === undefined || JSON.parse(line).ready !== true) {
    child.kill("SIGKILL");
    throw new Error(`the server did not start: ${line ?? ""}\n${log}`);
  }
  const socket = join(folder, "nbd.sock");
  return {
    folder,
    socket,
    uri: (exportName = "data") => `nbd+unix:///${exportName}?socket=${socket}`,
    control: (request) => ask(join(folder, "control.sock"), request),
    log: () => log,
    async stop() {
      child.kill("SIGTERM");
      return ended;
    },
    async kill() {
      const { pid } = await this.control({ op: "status" });
      child.kill("SIGKILL"); // the supervisor first, or it starts the next worker
      process.kill(Number(pid), "SIGKILL");
      await ended;
    },
    process: child,
    async close() {
      child.kill("SIGTERM");
      const status = await ended;
      await rm(folder, { recursive: true, force: true });
      if (status !== 0) throw new Error(`the server ended with ${status}:\n${log}`);
    },
  };
}

async function ask(path: string, request: object): Promise<Record<string, unknown>> {
  const connection = createConnection(path);
  connection.write(`${JSON.stringify(request)}\n`);
  for await (const line of createInterface({ input: connection })) {
    connection.destroy();
    return JSON.parse(line);
  }
  throw new Error("the control socket was closed without an answer");
}

/** What `--nbd-stdio` of that server program answers to these bytes, up to the end of its output. */
export function serveStream(
  server: string,
  config: string,
  input: Buffer,
): Promise<{ status: number | null; signal: string | null; stdout: Buffer; stderr: string }> {
  return new Promise((done, failed) => {
    const child = spawn(server, ["--config", config, "--nbd-stdio"], { stdio: "pipe", timeout: 60_000 });
    const chunks: Buffer[] = [];
    let stderr = "";
    child.stdout.on("data", (data: Buffer) => chunks.push(data));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    // The server may let go before it has read everything.
    child.stdin.on("error", () => undefined);
    child.on("error", failed);
    child.on("close", (status, signal) => done({ status, signal, stdout: Buffer.concat(chunks), stderr }));
    child.stdin.end(input);
  });
}

/** A socket that collects what it gets, for input that no honest client sends. */
export class RawClient {
  #got: Buffer[] = [];
  #bytes = 0;
  #closed = false;
  #wake: () => void = () => undefined;

  private constructor(readonly socket: Socket) {
    socket.on("data", (data: Buffer) => {
      this.#got.push(data);
      this.#bytes += data.length;
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static connect(path: string): Promise<RawClient> {
    return new Promise((done, failed) => {
      const socket = createConnection(path);
      socket.once("error", failed);
      socket.once("connect", () => done(new RawClient(socket)));
    });
  }

  send(...parts: (Buffer | Uint8Array)[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The next bytes; an error when the server closes before. */
  async take(bytes: number): Promise<Buffer> {
    while (this.#bytes < bytes) {
      if (this.#closed) throw new Error(`closed after ${this.#bytes} of ${bytes} bytes`);
      await this.#more();
    }
    const all = this.#got.length === 1 ? (this.#got[0] as Buffer) : Buffer.concat(this.#got);
    this.#got = [all.subarray(bytes)];
    this.#bytes -= bytes;
    return all.subarray(0, bytes);
  }

  /** Everything until the server closes. */
  async rest(): Promise<Buffer> {
    while (!this.#closed) await this.#more();
    return this.take(this.#bytes);
  }

  #more(): Promise<void> {
    return new Promise((wake) => {
      this.#wake = wake;
    });
  }

  close(): void {
    this.socket.destroy();
  }
}
