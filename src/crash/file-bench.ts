/** Checks that see the rebuilt disk itself, as a file. */

import type { CommandResult } from "./command.js";
import { runCommand } from "./command.js";
import { DiskFile } from "./disk-file.js";
import { diskEnvironment } from "./environment.js";
import type { Bench } from "./explore.js";
import type { History } from "./model/history.js";

export interface BenchOptions {
  readonly history: History;
  /** What the disk held before the log began. */
  readonly base: string | null;
  readonly check: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** @param path of the job's own disk file, on tmpfs */
export function fileBench(path: string, options: BenchOptions): Bench {
  const disk = new DiskFile(path, options.history, options.base);
  const { check, cwd, timeoutMs, signal } = options;
  const env = diskEnvironment(options.env, { file: path });
  return {
    check(composer, { epoch }): Promise<CommandResult> {
      disk.hold(composer, epoch);
      return runCommand(check, { env, cwd, timeoutMs, signal });
    },
    renew: () => disk.close(),
    close: async () => disk.close(),
  };
}
