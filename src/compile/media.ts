/**
 * What was seen of the world before compiling, gathered at the edge (reconcile/preflight) so that compile stays pure.
 */

import type { Media } from "../layers/media.js";

export type { Media } from "../layers/media.js";

export interface Host {
  /** Whether a ublk driver answers, which decides frontend auto. */
  ublk: boolean;
  /** CPUs that may run queue threads, at least 1. */
  cpus: number;
}

/** By layer name. Pure validation passes an empty map and a host that could do everything. */
export type MediaByLayer = ReadonlyMap<string, Media>;
