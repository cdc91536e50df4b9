/**
 * What was seen of the world before compiling, gathered at the edge (reconcile/preflight) so that compile stays pure.
 */

/** One leaf's media as they are now. Absent facts mean: nothing was looked at, use the file's own words. */
export interface Media {
  exists: boolean;
  /** Bytes that can be addressed; 0 when it does not exist. */
  sizeBytes: number;
  logicalBlockBytes: number;
  physicalBlockBytes: number;
  ioMinBytes: number;
  ioOptBytes: number;
  discardGranularityBytes: number;
  maxDiscardBytes: number;
  maxWriteZeroesBytes: number;
  volatileCache: boolean;
  fua: boolean;
  rotational: boolean;
}

export interface Host {
  /** Whether a ublk driver answers, which decides frontend auto. */
  ublk: boolean;
  /** CPUs that may run queue threads, at least 1. */
  cpus: number;
}

/** By layer name. Pure validation passes an empty map and a host that could do everything. */
export type MediaByLayer = ReadonlyMap<string, Media>;
