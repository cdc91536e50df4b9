/** Benches for as long as some work needs them: their folder, their disks, and their end whatever happens. */

import { join } from "node:path";
import { DiskFile } from "./disk-file.js";
import type { Bench } from "./explore.js";
import { type BenchOptions, fileBench } from "./file-bench.js";
import type { RebuiltDisk } from "./rebuilt-disk.js";
import { openRecordedDisk, sharedParts } from "./recorded-disk.js";
import { openScratch, removeScratch } from "./scratch.js";
import { servedBench } from "./served-bench.js";
import type { OpenSession } from "./session.js";

export type BenchRunner = Pick<BenchOptions, "env" | "timeoutMs" | "signal">;

/** Makes benches; what it made it takes down. */
export interface BenchMaker {
  /** Disks as plain files. */
  plain(count: number): readonly Bench[];
  /** Disks that know what is read of them. @throws NotMounted */
  recorded(count: number): Promise<readonly Bench[]>;
}

/** Calls `work` with a maker of places to check states at. */
export async function withBenches<T>(
  { session, history, base }: OpenSession,
  runner: BenchRunner,
  work: (maker: BenchMaker) => Promise<T>,
): Promise<T> {
  const folder = await openScratch();
  const { check, cwd, above } = session;
  const options = { check, cwd, ...runner };
  const made: Bench[] = [];
  let number = 0;
  const benchOf = (disk: RebuiltDisk): Bench => {
    const runDir = join(folder, `run-${number++}`);
    const bench = above === null ? fileBench(disk, options) : servedBench(disk, runDir, above, options);
    made.push(bench);
    return bench;
  };
  const path = () => join(folder, `disk-${number}.img`);
  try {
    return await work({
      plain: (count) => Array.from({ length: count }, () => benchOf(new DiskFile(path(), history, base))),
      async recorded(count) {
        const parts = sharedParts(history, base);
        const benches: Bench[] = [];
        while (benches.length < count) benches.push(benchOf(await openRecordedDisk(path(), history, parts)));
        return benches;
      },
    });
  } finally {
    for (const bench of made) await bench.close();
    await removeScratch(folder);
  }
}
