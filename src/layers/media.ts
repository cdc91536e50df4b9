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
