/**
 * Geometry, and how it stacks: the rules of the kernel's blk_stack_limits() (block/blk-settings.c, Linux 6.11 and
 * newer), so that a stack of ours shows its users what the same stack of device mapper targets would show.
 *
 *   unit          logical = max, physical = max, io_min = max, io_opt = lcm of those that have a preference
 *   repair        physical must be a multiple of logical, io_min and io_opt of physical; what is not is given up
 *   can it        discard and write zeroes only where every member can (dm_table_supports_discards)
 *   durability    a volatile cache below is one above; FUA only where every volatile member has it
 *
 * Where the kernel would say `misaligned`, the result names what was given up.
 */

/** How a layer looks to the layer above it: the kernel's queue limits, stacked as blk_stack_limits() does. */
export interface Geometry {
  /** Smallest addressable unit, a power of two from 512 to 4096. */
  logicalBlockBytes: number;
  /** Unit the media write atomically, at least logicalBlockBytes. */
  physicalBlockBytes: number;
  /** Preferred smallest request; a multiple of physicalBlockBytes. */
  ioMinBytes: number;
  /** Preferred request for streaming; 0 when the layer has no preference. */
  ioOptBytes: number;
  /** 0 when the layer cannot discard. */
  discardGranularityBytes: number;
  /** 0 when the layer cannot discard. A discarded range reads as zeros in every layer we have. */
  maxDiscardBytes: number;
  /** 0 when the layer cannot write zeros without data. */
  maxWriteZeroesBytes: number;
  /** Whether a completed write needs a flush to be durable. */
  volatileCache: boolean;
  /** Whether a write may ask for its own durability (FUA). */
  fua: boolean;
  rotational: boolean;
}

export const SECTOR_BYTES = 512;
/** The page: the largest logical block that ublk and NBD clients take everywhere. */
export const MAX_LOGICAL_BLOCK_BYTES = 4096;
/** One discard or write-zeroes of a leaf that sets no bound of its own; the engine's requests are 32-bit. */
export const DEFAULT_MAX_DISCARD_BYTES = 1024 ** 3;

/** What stacking had to give up, where the kernel sets `misaligned`. */
export type Misfit = "physicalBlockBytes" | "ioMinBytes" | "ioOptBytes";

export interface Stacked {
  geometry: Geometry;
  misfits: Misfit[];
}

/**
 * The least common multiple of two sizes, where 0 means no preference.
 * @returns the other one when one is 0; 0 when the result would leave the 32 bits of the kernel's limits
 */
export function lcmNotZero(a: number, b: number): number {
  if (a === 0 || b === 0) return a + b;
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  const lcm = (a / x) * b;
  return lcm <= 0xffff_ffff ? lcm : 0;
}

/** The smaller of two bounds, where 0 means that one side cannot at all. */
const bothCan = (a: number, b: number): number => Math.min(a, b);

function pair(top: Geometry, bottom: Geometry): Geometry {
  const volatileCache = top.volatileCache || bottom.volatileCache;
  const durableWrite = (g: Geometry) => g.fua || !g.volatileCache;
  const maxDiscardBytes = bothCan(top.maxDiscardBytes, bottom.maxDiscardBytes);
  return {
    logicalBlockBytes: Math.max(top.logicalBlockBytes, bottom.logicalBlockBytes),
    physicalBlockBytes: Math.max(top.physicalBlockBytes, bottom.physicalBlockBytes),
    ioMinBytes: Math.max(top.ioMinBytes, bottom.ioMinBytes),
    ioOptBytes: lcmNotZero(top.ioOptBytes, bottom.ioOptBytes),
    discardGranularityBytes:
      maxDiscardBytes === 0 ? 0 : Math.max(top.discardGranularityBytes, bottom.discardGranularityBytes),
    maxDiscardBytes,
    maxWriteZeroesBytes: bothCan(top.maxWriteZeroesBytes, bottom.maxWriteZeroesBytes),
    volatileCache,
    fua: volatileCache && durableWrite(top) && durableWrite(bottom),
    rotational: top.rotational || bottom.rotational,
  };
}

/** Make a geometry keep its own promises, giving up what cannot be kept, in the order of blk_stack_limits(). */
export function settle(wanted: Geometry): Stacked {
  const geometry = { ...wanted };
  const misfits: Misfit[] = [];
  if (geometry.physicalBlockBytes % geometry.logicalBlockBytes !== 0) {
    geometry.physicalBlockBytes = geometry.logicalBlockBytes;
    misfits.push("physicalBlockBytes");
  }
  if (geometry.ioMinBytes % geometry.physicalBlockBytes !== 0 || geometry.ioMinBytes === 0) {
    if (geometry.ioMinBytes !== 0) misfits.push("ioMinBytes");
    geometry.ioMinBytes = geometry.physicalBlockBytes;
  }
  if (geometry.ioOptBytes % geometry.physicalBlockBytes !== 0) {
    geometry.ioOptBytes = 0;
    misfits.push("ioOptBytes");
  }
  if (geometry.maxDiscardBytes === 0 || geometry.discardGranularityBytes === 0) {
    geometry.maxDiscardBytes = 0;
    geometry.discardGranularityBytes = 0;
  } else {
    geometry.discardGranularityBytes = Math.max(geometry.discardGranularityBytes, geometry.logicalBlockBytes);
  }
  return { geometry, misfits };
}

/**
 * What a layer looks like that passes requests on to all of these.
 * @param members at least one
 */
export function stackGeometry(members: readonly Geometry[]): Stacked {
  const [first, ...rest] = members;
  if (first === undefined) throw new RangeError("nothing to stack: a mapping has at least one member");
  const misfits = new Set<Misfit>();
  let geometry = first;
  for (const member of rest) {
    const step = settle(pair(geometry, member));
    geometry = step.geometry;
    for (const misfit of step.misfits) misfits.add(misfit);
  }
  return { geometry: { ...geometry }, misfits: [...misfits] };
}
