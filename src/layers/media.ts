import type { Geometry } from "./geometry.js";
import type { ImageFacts } from "./image.js";

/** One leaf's media as they are now. Absent facts mean: nothing was looked at, use the file's own words. */
export interface Media extends Geometry {
  exists: boolean;
  /** Bytes that can be addressed; 0 when it does not exist. */
  sizeBytes: number;
  /** Equal for equal media, where somebody looked. */
  identity?: string;
  /** What media that a format stands on begin with. */
  image?: ImageFacts;
}

/** The plainest of disks: sectors, no cache, nothing to discard. */
export function plainMedia(exists: boolean, sizeBytes: number): Media {
  return {
    exists,
    sizeBytes,
    logicalBlockBytes: 512,
    physicalBlockBytes: 512,
    ioMinBytes: 512,
    ioOptBytes: 0,
    discardGranularityBytes: 0,
    maxDiscardBytes: 0,
    maxWriteZeroesBytes: 0,
    volatileCache: false,
    fua: false,
    rotational: false,
  };
}
