/**
 * What the explorer and the thread that serves a job's disk share.
 *
 * Between two checks the explorer changes `now` and then raises WANTED. The thread compares WANTED with the round that
 * it is in before each request that it serves: a new round forgets what was written and read. It says how much was read
 * in READ, and in SERVED of which round that is, so that a check that never touched its disk has read nothing.
 */

import type { DiskLayout } from "../model/state-disk.js";
import type { FileOwner } from "./serve.js";

export const WANTED = 0;
export const SERVED = 1;
export const NR_READ = 2;
/** Not zero: the thread refuses what comes and ends. */
export const STOP = 3;
export const CONTROLS = 4;

export interface SharedDisk {
  /** Of /dev/fuse, mounted. */
  readonly fd: number;
  readonly owner: FileOwner;
  readonly layout: DiskLayout;
  readonly now: Int32Array;
  readonly order: Int32Array;
  readonly control: Int32Array;
  /** Files that contents stand in, by number of source. */
  readonly sources: readonly string[];
  readonly base: string | null;
}
