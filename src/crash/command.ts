/**
 * A workload or a check: a line for the shell, in a process group of its own, with its output kept and its time
 * limited. When it has ended nothing of it is left running.
 */

import { spawn } from "node:child_process";

/** Of a longer output the end is kept: that is where a check says what it found. */
const OUTPUT_BYTES = 16 * 1024;
/** How long output may come after the end of the process that was to say it. */
const DRAIN_MS = 1_000;

export interface CommandResult {
  /** Exit code; null when a signal ended it. */
  readonly exit: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  /** Standard output and error as they came, the last of it. */
  readonly output: string;
}

/** In words that follow its name. */
export const howItEnded = ({ exit, signal, timedOut }: CommandResult): string =>
  timedOut ? "ran out of time" : signal === null ? `ended with exit status ${exit}` : `ended by ${signal}`;

export const succeeded = ({ exit, timedOut }: CommandResult) => exit === 0 && !timedOut;

export interface CommandOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  readonly timeoutMs: number;
  /** Ends the command at once; the promise is rejected. */
  readonly signal: AbortSignal;
}

/** Keeps the end of what is added to it. */
class Tail {
  #pieces: Buffer[] = [];
  #bytes = 0;
  #lost = false;

  add(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes > 4 * OUTPUT_BYTES) this.#shorten();
  }

  get text(): string {
    this.#shorten();
    const text = Buffer.concat(this.#pieces).toString("utf8");
    return this.#lost ? `…${text}` : text;
  }

  #shorten(): void {
    if (this.#bytes <= OUTPUT_BYTES) return;
    const all = Buffer.concat(this.#pieces);
    this.#pieces = [all.subarray(all.length - OUTPUT_BYTES)];
    this.#bytes = OUTPUT_BYTES;
    this.#lost = true;
  }
}

/** Everything of the group that is still there; it may all have ended. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** @throws the signal's reason when it is aborted, and what spawn throws when there is no shell */
export function runCommand(line: string, options: CommandOptions): Promise<CommandResult> {
  const { env, cwd, timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const child = spawn("/bin/sh", ["-c", line], {
      env,
      cwd,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { pid } = child;
    if (pid === undefined) {
      child.once("error", reject);
      return;
    }
    const tail = new Tail();
    let timedOut = false;
    child.stdout.on("data", (piece: Buffer) => tail.add(piece));
    child.stderr.on("data", (piece: Buffer) => tail.add(piece));
    const late = setTimeout(() => {
      timedOut = true;
      killGroup(pid);
    }, timeoutMs);
    const stop = () => killGroup(pid);
    signal.addEventListener("abort", stop, { once: true });
    let drained: NodeJS.Timeout | undefined;
    child.once("exit", () => {
      // What the shell left in the background would write to the next state.
      killGroup(pid);
      // A daemon that left the group may hold the pipes for ever; what it says is not the check's.
      drained = setTimeout(() => {
        child.stdout.destroy();
        child.stderr.destroy();
      }, DRAIN_MS);
    });
    child.once("close", (exit, signalName) => {
      clearTimeout(late);
      clearTimeout(drained);
      signal.removeEventListener("abort", stop);
      if (signal.aborted) reject(signal.reason);
      else resolve({ exit, signal: signalName, timedOut, output: tail.text });
    });
  });
}
