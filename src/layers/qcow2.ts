import { DEFAULT_MAX_DISCARD_BYTES, type Geometry, settle } from "./geometry.js";
import type { Qcow2Image } from "./image.js";
import { baseOf, stated } from "./instrument.js";
import type { Content, Keeps, LayerInput, LayerKind } from "./kind.js";
import { imageFindings } from "./qcow2-image.js";
import { optionFindings } from "./qcow2-options.js";

type Input = LayerInput<"qcow2">;

/** As QEMU has it, and so do we, where an image is made and nothing is stated. */
export const DEFAULT_CLUSTER_BYTES = 64 * 1024;

/** The image that is going to be served, where it is there already and was looked at. */
function imageOf({ layer, children }: Input): Qcow2Image | null {
  // What is written over does not matter; the tables of the first apply and of later ones are the same.
  if (layer.options.create === "always") return null;
  const image = baseOf(children).file?.image ?? null;
  return image?.kind === "qcow2" ? image : null;
}

/** Blocks suit all members; everything else is the base's, or what the format can do by itself. */
function geometry(input: Input): Geometry {
  const { layer, children } = input;
  const base = baseOf(children).geometry;
  const logicalBlockBytes = Math.max(...children.map((child) => child.geometry.logicalBlockBytes));
  // An image that is not there yet looks as it will: the second apply gives the table of the first.
  const clusterBytes = layer.options.clusterSize ?? imageOf(input)?.clusterBytes ?? DEFAULT_CLUSTER_BYTES;
  return settle({
    ...base,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(base.physicalBlockBytes, logicalBlockBytes),
    ioMinBytes: Math.max(base.ioMinBytes, logicalBlockBytes),
    ioOptBytes: clusterBytes,
    discardGranularityBytes: clusterBytes,
    maxDiscardBytes: DEFAULT_MAX_DISCARD_BYTES,
    maxWriteZeroesBytes: DEFAULT_MAX_DISCARD_BYTES,
    // Tables are written behind the data: a flush is what makes both durable, and no write is so by itself.
    volatileCache: true,
    fua: false,
  }).geometry;
}

/**
 * The disk stays what it was where the image, its data and what shines through stay. None of its bytes are at the
 * same offsets of a member, so that nothing else can keep them.
 */
function keeps(before: Content, after: Content, _bytes: number, keeps: Keeps): boolean {
  const { params } = before.layer;
  const same =
    params.backing === after.layer.params.backing && params.dataFile === after.layer.params.dataFile;
  return (
    same &&
    before.children.every((child, index) => {
      const successor = after.children[index];
      return successor !== undefined && keeps(child, successor, bytesInUse(child, successor));
    })
  );
}

/** Another bound for a file that grows takes nothing away: it is held against the file's length before. */
function bytesInUse({ layer: before }: Content, { layer: after }: Content): number {
  const grow = before.params.grows === true && after.params.grows === true;
  return grow ? Math.min(before.sizeBytes, after.sizeBytes) : before.sizeBytes;
}

/** qcow2: a disk in an image of QEMU's format. */
export const qcow2: LayerKind<"qcow2"> = {
  type: "qcow2",
  remembers: true,
  adjustable: [],
  children: ({ options }) =>
    [options.base, options.backing, options.dataFile].filter((name) => name !== null),
  onlyReads: ({ options }) => (options.backing === null ? [] : [options.backing]),
  grows: ({ options }) => [options.base, options.dataFile].filter((name) => name !== null),
  headers: ({ options }) => [options.base, options.backing].filter((name) => name !== null),

  check: (input) => [...optionFindings(input, geometry(input).logicalBlockBytes), ...imageFindings(input)],

  sizeBytes: (input) => input.layer.options.size ?? imageOf(input)?.sizeBytes ?? null,
  geometry,

  params: ({ options }) => ({
    create: options.create,
    ...stated({
      overwrite: options.overwrite,
      backing: options.backing === null ? null : true,
      dataFile: options.dataFile === null ? null : true,
      clusterBytes: options.clusterSize,
      refcountBits: options.refcountBits,
      version: options.version,
      extendedL2: options.extendedL2,
      compression: options.compression,
      preallocation: options.preallocation,
      lazyRefcounts: options.lazyRefcounts,
    }),
    cacheBytes: options.cache,
  }),

  /** Without one of its members the others are of no use. */
  survivesReboot: (children) => children.every((child) => child.survivesReboot),

  file({ children }) {
    const { file } = baseOf(children);
    return file?.format === "raw" ? { ...file, format: "qcow2", image: null } : null;
  },

  creatable: false,
  place: () => null,
  keeps,
  copies: () => [],
  head: () => undefined,
};
