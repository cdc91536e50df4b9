/** Where a check finds the disk of a state: a file that holds it, or one that is made up as it is read. */

import type { Composer } from "./model/composer.js";

/** What a check read. */
export interface Reads {
  /** Places in the order in which they were first read. */
  readonly places: Int32Array;
  /** What the disk held, by place; valid until the next state is held. */
  readonly now: Int32Array;
}

export interface RebuiltDisk {
  readonly path: string;
  /** Makes it hold what the composer has composed. */
  hold(composer: Composer, epoch: number): void;
  /** What was read of it since then; null when it cannot tell. */
  reads(): Reads | null;
  /** Forgets what it holds, so that the next state is made from nothing. */
  renew(): void;
  close(): Promise<void>;
}
