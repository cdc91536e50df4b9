/** What a verb gets and gives: the command line as values, the terminal, and an exit code. */

import type { Terminal } from "./terminal.js";

/** Every option that any verb has; the registry says which verb takes which. */
export interface Options {
  readonly output?: string;
  /** -f FILE, any number of times. */
  readonly filename?: readonly string[];
  readonly wait?: boolean;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly allowDataLoss?: boolean;
  readonly readd?: boolean;
  readonly all?: boolean;
  readonly ignoreNotFound?: boolean;
  readonly for?: string;
  readonly follow?: boolean;
  /** Milliseconds before now, or a point in time (RFC 3339) as milliseconds since 1970. */
  readonly since?: Since;
  readonly tail?: number;
  readonly verbose?: boolean;
  readonly stay?: boolean;
  readonly watch?: boolean;
  readonly forceShare?: boolean;
}

export type Since = { readonly agoMs: number } | { readonly atMs: number };

export interface Invocation {
  readonly verb: string;
  /** Positional arguments, then what -f named. */
  readonly args: readonly string[];
  readonly options: Options;
  /** For verbs with options of their own (bench): everything as commander parsed it. */
  readonly rawOptions: Readonly<Record<string, unknown>>;
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  /** Aborted by the first Ctrl-C; the second ends the process at once. */
  readonly interrupted: AbortSignal;
}

/**
 * 0 success, 1 failure, 2 bad usage or an invalid spec; `diff`: 1 says that there are differences; `image`: 1 any error, 2
 * a corrupt image, 3 leaks.
 */
export type ExitStatus = 0 | 1 | 2 | 3;

export interface VerbModule {
  run(invocation: Invocation): Promise<ExitStatus>;
}
