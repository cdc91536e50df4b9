/** Asks the server program whether engine uring-bpf works here: it loads and attaches the program of the loop. */

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Answer } from "./facts.js";

export interface EngineProbe {
  readonly works: boolean;
  /** In plain words, one line. */
  readonly reason: string;
  /** The last words of the kernel's verifier; empty when it was not asked. */
  readonly log: string;
}

/** The verifier takes about a second, more on a slow machine. */
const PROBE_MS = 20_000;
const ANSWER_BYTES_MAX = 2 ** 20;

const run = promisify(execFile);

function isProbe(value: unknown): value is EngineProbe {
  if (typeof value !== "object" || value === null) return false;
  const { works, reason, log } = value as Partial<EngineProbe>;
  return typeof works === "boolean" && typeof reason === "string" && typeof log === "string";
}

function readAnswer(line: string): Answer<EngineProbe> {
  try {
    const value: unknown = JSON.parse(line);
    if (isProbe(value)) {
      const { works, reason, log } = value;
      return { known: true, value: { works, reason, log } };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return { known: false, why: "the server's answer makes no sense" };
}

/**
 * Never throws.
 * @param program path of the server program
 */
export async function probeEngine(program: string, timeoutMs = PROBE_MS): Promise<Answer<EngineProbe>> {
  try {
    const { stdout } = await run(program, ["--probe-engine"], {
      timeout: timeoutMs,
      killSignal: "SIGKILL",
      maxBuffer: ANSWER_BYTES_MAX,
    });
    return readAnswer(stdout);
  } catch (error) {
    const { killed, message } = error as Error & { killed?: boolean };
    const [firstLine = ""] = message.split("\n");
    return { known: false, why: killed ? `no answer within ${timeoutMs / 1000} s` : firstLine };
  }
}
