/**
 * A connection to a server's control socket: one JSON object per line each way, answered in order. It stays open, and
 * that it closes is how we learn that the server ended.
 */

import { connect, type Socket } from "node:net";
import { StackError } from "../errors.js";

interface Waiting {
  resolve(reply: unknown): void;
  reject(error: Error): void;
}

/** Puts a question to a server. @throws StackError timeout, or io-error when the server ends before it answers */
export type Ask = (
  request: { readonly op: string; readonly [key: string]: unknown },
  timeoutMs: number,
) => Promise<unknown>;

export class ControlChannel {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #waiting: Waiting[] = [];
  #closed = false;

  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    let rest = "";
    socket.setEncoding("utf8").on("data", (piece: string) => {
      const lines = (rest + piece).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#answer(line);
    });
    socket.on("error", () => socket.destroy());
    socket.once("close", () => this.#end());
  }

  /** @returns null when nobody listens there. @throws StackError timeout */
  static open(path: string, timeoutMs: number): Promise<ControlChannel | null> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const late = setTimeout(() => {
        socket.destroy();
        reject(new StackError("timeout", `waited ${timeoutMs} ms to connect to ${path}`, { path }));
      }, timeoutMs);
      socket.once("error", () => {
        clearTimeout(late);
        resolve(null);
      });
      socket.once("connect", () => {
        clearTimeout(late);
        socket.removeAllListeners("error");
        resolve(new ControlChannel(socket, path));
      });
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Called once, at once if it is closed already. */
  onClose(callback: () => void): void {
    if (this.#closed) queueMicrotask(callback);
    else this.#socket.once("close", callback);
  }

  /** @throws StackError timeout, or io-error when the server ends before it answers */
  async ask(
    request: { readonly op: string; readonly [key: string]: unknown },
    timeoutMs: number,
  ): Promise<unknown> {
    if (this.#closed) throw this.#gone();
    let late: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        late = setTimeout(() => {
          // Later answers could not be told apart any more.
          this.#socket.destroy();
          reject(
            new StackError(
              "timeout",
              `waited ${timeoutMs} ms for the server at ${this.#path} to answer "${request.op}"`,
            ),
          );
        }, timeoutMs);
        this.#waiting.push({ resolve, reject });
        this.#socket.write(`${JSON.stringify(request)}\n`);
      });
    } finally {
      clearTimeout(late);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #answer(line: string): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) {
      this.close();
      return;
    }
    try {
      waiting.resolve(JSON.parse(line));
    } catch (error) {
      waiting.reject(
        new StackError("internal", `the server at ${this.#path} answered no JSON`, {}, { cause: error }),
      );
    }
  }

  #end(): void {
    this.#closed = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#gone());
  }

  #gone(): StackError {
    return new StackError("io-error", `the server at ${this.#path} ended`, { path: this.#path });
  }
}
