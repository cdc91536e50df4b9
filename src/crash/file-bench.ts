/** Checks that see the rebuilt disk itself, as a file. */

import { runCommand } from "./command.js";
import { diskEnvironment } from "./environment.js";
import type { Bench, Checked } from "./explore.js";
import type { RebuiltDisk } from "./rebuilt-disk.js";

export interface BenchOptions {
  readonly check: string;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** @param disk the job's own */
export function fileBench(disk: RebuiltDisk, options: BenchOptions): Bench {
  const { check, cwd, timeoutMs, signal } = options;
  const env = diskEnvironment(options.env, { file: disk.path });
  return {
    async check(composer, { epoch }): Promise<Checked> {
      disk.hold(composer, epoch);
      const result = await runCommand(check, { env, cwd, timeoutMs, signal });
      return { result, reads: disk.reads() };
    },
    renew: () => disk.renew(),
    close: () => disk.close(),
  };
}
