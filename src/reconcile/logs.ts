/** Reading STATE/logs/NAME.log: JSON lines of servers and controller. Needs no controller. */

import { on } from "node:events";
import { watch } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";
import { StackError } from "../errors.js";
import { type Paths, resolvePaths, stackLog } from "./paths.js";

/** One line of a stack's log; levels are pino's: 30 information, 40 warning, 50 error. */
export interface LogLine {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly level: number;
  readonly msg: string;
  readonly stack?: string;
  readonly device?: string;
  readonly layer?: string;
  readonly path?: string;
  readonly errno?: string | number;
  readonly op?: string;
  readonly offset?: number;
  readonly length?: number;
  readonly [more: string]: unknown;
}

export interface LogOptions {
  readonly paths?: Paths;
  /** Only lines at or after this time, milliseconds since 1970. */
  readonly sinceMs?: number;
  /** Only the last lines that match. */
  readonly tail?: number;
  /** Go on with what is added, until the signal. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The lines of a stack's log, oldest first.
 * @throws StackError stack-unknown when nothing was ever said about such a stack
 */
export async function* readLogs(
  stack: string,
  options: LogOptions = {},
): AsyncGenerator<LogLine, void, void> {
  const path = stackLog(options.paths ?? resolvePaths(), stack);
  const { sinceMs = 0, tail = Number.POSITIVE_INFINITY, follow = false, signal } = options;
  const file = await open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT")
      throw new StackError("stack-unknown", `there is no log of a stack "${stack}"`);
    throw error;
  });
  try {
    const reader = new LineReader(file);
    const present = (await reader.more()).filter((line) => line.time >= sinceMs);
    yield* tail >= present.length ? present : present.slice(present.length - tail);
    if (!follow) return;
    for await (const _ of changesOf(path, signal)) yield* await reader.more();
  } finally {
    await file.close();
  }
}

/** Whole lines as they come; a line that is still being written waits for its end. */
class LineReader {
  readonly #file: FileHandle;
  readonly #decoder = new StringDecoder("utf8");
  #offset = 0;
  #rest = "";
  #time = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async more(): Promise<LogLine[]> {
    const buffer = Buffer.allocUnsafe(64 * 1024);
    const lines: LogLine[] = [];
    for (;;) {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#offset);
      if (bytesRead === 0) return lines;
      this.#offset += bytesRead;
      const pieces = (this.#rest + this.#decoder.write(buffer.subarray(0, bytesRead))).split("\n");
      this.#rest = pieces.pop() ?? "";
      for (const piece of pieces) if (piece !== "") lines.push(this.#line(piece));
    }
  }

  /** What is not one of our lines (a crash report of libc, say) is shown all the same, at the time before it. */
  #line(text: string): LogLine {
    const line = parseObject(text);
    if (line === null || typeof line.time !== "number" || typeof line.msg !== "string") {
      return { time: this.#time, level: 50, msg: text };
    }
    this.#time = line.time;
    return line as unknown as LogLine;
  }
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** One turn when watching has begun, for what came since the last look, and one after every change. */
async function* changesOf(path: string, signal: AbortSignal | undefined): AsyncGenerator<void, void, void> {
  const watcher = watch(path);
  try {
    const changes = on(watcher, "change", signal === undefined ? {} : { signal });
    yield;
    for await (const _ of changes) yield;
  } catch (error) {
    if ((error as Error).name !== "AbortError") throw error;
  } finally {
    watcher.close();
  }
}
