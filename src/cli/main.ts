/** One command from words to exit code: parse, load the verb, run it, report what it threw. */

import { packageVersion } from "../reconcile/build-id.js";
import type { ExitStatus } from "./common/invocation.js";
import { reportError, toStackError } from "./common/report.js";
import { createTerminal, type Stream, type Terminal } from "./common/terminal.js";
import { type Parsed, parseCommandLine } from "./program.js";
import { findVerb } from "./registry.js";

/** What main needs of `process`. */
export interface Surroundings {
  readonly stdout: Stream;
  readonly stderr: Stream;
  readonly env: NodeJS.ProcessEnv;
  on(signal: "SIGINT" | "SIGTERM", listener: () => void): unknown;
  exit(code: number): never;
}

/** What a shell reports for a process that Ctrl-C ended: 128 + SIGINT. */
export const INTERRUPTED = 130;

/**
 * The first Ctrl-C (or SIGTERM) asks the verb to stop watching; the second ends the process at once. Either way
 * the controller goes on with what it has begun: leaving a change half made helps nobody.
 */
function interruptible(surroundings: Surroundings): AbortSignal {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) surroundings.exit(INTERRUPTED);
    controller.abort();
  };
  surroundings.on("SIGINT", onSignal);
  surroundings.on("SIGTERM", onSignal);
  return controller.signal;
}

async function runVerb(parsed: Parsed, terminal: Terminal, surroundings: Surroundings): Promise<number> {
  const interrupted = parsed.verb.ownSignals ? new AbortController().signal : interruptible(surroundings);
  try {
    const { run } = await parsed.verb.load();
    const status: ExitStatus = await run({
      verb: parsed.verb.name,
      args: [...parsed.args, ...(parsed.options.filename ?? [])],
      options: parsed.options,
      rawOptions: parsed.rawOptions,
      terminal,
      env: surroundings.env,
      interrupted,
    });
    return interrupted.aborted ? INTERRUPTED : status;
  } catch (thrown) {
    if (interrupted.aborted) return INTERRUPTED;
    const status = reportError(toStackError(thrown), terminal.err, `ublk-stack ${parsed.verb.name}`);
    return parsed.verb.errorStatus ?? status;
  }
}

async function execute(
  argv: readonly string[],
  terminal: Terminal,
  surroundings: Surroundings,
): Promise<number> {
  let parsed: Parsed | null;
  try {
    parsed = parseCommandLine(argv, terminal, packageVersion());
  } catch (thrown) {
    const error = toStackError(thrown);
    if (typeof error.details.help === "string") terminal.err.line(error.details.help);
    const verb = findVerb(argv[0] ?? "");
    const subject = verb === undefined ? "ublk-stack" : `ublk-stack ${verb.name}`;
    const status = reportError(error, terminal.err, subject);
    return verb?.errorStatus ?? status;
  }
  return parsed === null ? 0 : await runVerb(parsed, terminal, surroundings);
}

/** @returns the exit code: 0 success, 1 failure, 2 bad usage or an invalid spec, 130 interrupted */
export async function main(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const terminal = createTerminal(surroundings.stdout, surroundings.stderr, surroundings.env);
  const status = await execute(argv, terminal, surroundings);
  // The process ends by force, and a slow reader is still to have all of it.
  await Promise.all([terminal.out.drained(), terminal.err.drained()]);
  return status;
}
