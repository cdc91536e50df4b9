/** Starting and ending servers. A server outlives the controller that started it. */

import { spawn } from "node:child_process";
import { type FileHandle, open } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { isErrorCode, StackError } from "../errors.js";
import { ControlChannel } from "./control-channel.js";
import { processOf, signalProcess, waitForEnd } from "./processes.js";
import { configFile } from "./server-config.js";

/** The worker waits up to 30 s for its predecessor's IO; beyond that, it is stuck. */
const START_MS = 60_000;
/** A server finishes what is in flight and flushes. */
const STOP_MS = 30_000;
const TERM_MS = 5_000;
const KILL_MS = 10_000;
const CONNECT_MS = 1_000;

export interface ServerPlace {
  readonly stack: string;
  readonly device: string;
  readonly runDir: string;
  readonly logFile: string;
}

export type Say = (message: string, layer?: string) => void;

/** How a start is told about, and ended. */
export interface StartOptions {
  readonly say: Say;
  readonly signal: AbortSignal;
  /** Called when a supervisor that was started ends, as long as we live. */
  readonly onEnd: () => void;
}

interface ReadyLine {
  readonly ready?: boolean;
  readonly id?: number | null;
  readonly pid?: number;
  readonly progress?: string;
  readonly layer?: string;
  readonly error?: {
    readonly code?: string;
    readonly message?: string;
    readonly layer?: string;
    readonly path?: string;
  };
}

/**
 * Starts the supervisor of a device, detached, and waits until its worker serves.
 * @param command program and leading arguments
 * @returns the worker's pid and the ublk device's number
 * @throws StackError in the server's own words, or timeout; the supervisor is not left running then
 */
export async function startServer(
  command: readonly string[],
  place: ServerPlace,
  options: StartOptions,
): Promise<{ id: number | null; pid: number }> {
  const [program, ...args] = command;
  if (program === undefined) throw new RangeError("a command needs a program");
  const log = await open(place.logFile, "a", 0o600);
  try {
    return await runSupervisor(program, args, place, log, options);
  } finally {
    await log.close();
  }
}

async function runSupervisor(
  program: string,
  args: readonly string[],
  place: ServerPlace,
  log: FileHandle,
  { say, signal, onEnd }: StartOptions,
): Promise<{ id: number | null; pid: number }> {
  const child = spawn(program, [...args, "--config", configFile(place.runDir), "--ready-fd", "3"], {
    cwd: "/",
    detached: true,
    stdio: ["ignore", log.fd, log.fd, "pipe"],
  });
  const pipe = child.stdio[3] as Readable;
  try {
    const line = await readyLine(child, pipe, place, say, signal);
    if (line.ready !== true) throw startError(place, line);
    child.once("exit", onEnd);
    return { id: line.id ?? null, pid: line.pid ?? 0 };
  } catch (error) {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      await endProcess(child.pid, configFile(place.runDir), say);
    }
    throw error;
  } finally {
    pipe.destroy();
    child.unref();
  }
}

function readyLine(
  child: ReturnType<typeof spawn>,
  pipe: Readable,
  { device }: ServerPlace,
  say: Say,
  signal: AbortSignal,
): Promise<ReadyLine> {
  return new Promise((resolve, reject) => {
    let lastProgress = "its first word";
    const fail = (error: Error) => {
      clearTimeout(late);
      reject(error);
    };
    const late = setTimeout(() => {
      fail(
        new StackError(
          "timeout",
          `waited ${START_MS / 1000} s for the server of "${device}"; its last word: ${lastProgress}`,
        ),
      );
    }, START_MS);
    signal.addEventListener(
      "abort",
      () => fail(new StackError("timeout", `starting "${device}" was given up`)),
      {
        once: true,
      },
    );
    child.once("error", (error) => {
      const { code } = error as NodeJS.ErrnoException;
      const missing = code === "ENOENT";
      fail(
        new StackError(
          missing ? "native-missing" : "server-start",
          `cannot run the server: ${error.message}`,
        ),
      );
    });
    const lines = createInterface({ input: pipe });
    lines.on("line", (text) => {
      const line = parseLine(text);
      if (line.progress !== undefined) {
        lastProgress = line.progress;
        say(line.progress, line.layer);
      } else if (line.ready !== undefined) {
        clearTimeout(late);
        resolve(line);
      }
    });
    // Its last words are in the log: a server that ends without a line was ended by somebody.
    lines.once("close", () =>
      fail(new StackError("server-start", `the server of "${device}" ended before it was ready`)),
    );
  });
}

function parseLine(text: string): ReadyLine {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch (error) {
    if (error instanceof SyntaxError) return { progress: text };
    throw error;
  }
}

function startError({ stack, device }: ServerPlace, { error = {} }: ReadyLine): StackError {
  const code = error.code !== undefined && isErrorCode(error.code) ? error.code : "server-start";
  const message = error.message ?? "it gave no reason";
  // The server leaves both empty when it is not about one of its layers.
  const [layer, path] = [error.layer || undefined, error.path || undefined];
  const facts = { stack, device, layer, path };
  const where = layer === undefined ? `device "${device}"` : `layer "${layer}" of device "${device}"`;
  // The server may have named the layer itself.
  const what = layer === undefined ? message : message.replace(`layer "${layer}": `, "");
  return new StackError(code, `${where}: ${what}`, facts);
}

/**
 * Ends whatever serves from a run folder, supervisor first, in order: a request, a signal, and the last resort.
 * @throws StackError timeout when even SIGKILL did not end it
 */
export async function stopServer(runDir: string, say: Say): Promise<void> {
  const config = configFile(runDir);
  const supervisor = await processOf(`${runDir}/supervisor.pid`, config);
  const worker = await processOf(`${runDir}/server.pid`, config);
  if (supervisor === null && worker === null) return;
  if (supervisor !== null) {
    // The supervisor hands it to the worker and ends after it; asking the worker alone would do too, if it answers.
    await askToStop(runDir);
    signalProcess(supervisor, "SIGTERM");
    if (!(await waitForEnd(supervisor, config, STOP_MS))) {
      say(`the server did not stop within ${STOP_MS / 1000} s and is killed`);
      await killProcess(supervisor, config);
    }
  } else {
    await askToStop(runDir);
  }
  const left = await processOf(`${runDir}/server.pid`, config);
  if (left !== null) await endProcess(left, config, say);
}

async function askToStop(runDir: string): Promise<void> {
  const channel = await ControlChannel.open(`${runDir}/control.sock`, CONNECT_MS);
  if (channel === null) return;
  try {
    await channel.ask({ op: "stop" }, CONNECT_MS);
  } catch (error) {
    // It may end before it answers, or not answer at all: the signal that follows is what counts.
    if (!(error instanceof StackError)) throw error;
  } finally {
    channel.close();
  }
}

async function endProcess(pid: number, config: string, say: Say): Promise<void> {
  signalProcess(pid, "SIGTERM");
  if (await waitForEnd(pid, config, TERM_MS)) return;
  say(`process ${pid} did not end within ${TERM_MS / 1000} s of SIGTERM and is killed`);
  await killProcess(pid, config);
}

async function killProcess(pid: number, config: string): Promise<void> {
  signalProcess(pid, "SIGKILL");
  if (await waitForEnd(pid, config, KILL_MS)) return;
  throw new StackError("timeout", `waited ${KILL_MS / 1000} s for process ${pid} to end after SIGKILL`, {
    pid,
  });
}
