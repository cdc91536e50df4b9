/** What leaves have in common: geometry from the media, size checks, and their answers to the planner. */

import type { Finding } from "../spec/finding.js";
import { quote } from "../spec/place.js";
import type { LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import { exactBytes } from "./bytes.js";
import { DEFAULT_MAX_DISCARD_BYTES, type Geometry, MAX_LOGICAL_BLOCK_BYTES, settle } from "./geometry.js";
import type { SeenFile } from "./image.js";
import { type Content, type LayerInput, type LayerKind, optionPath } from "./kind.js";
import type { Media } from "./media.js";

/** The page of every machine we run on, and the block of nearly every file system. */
export const PAGE_BYTES = 4096;

/** A leaf without media of its own: nothing to wait for, everything allowed. */
export function idealGeometry(
  logicalBlockBytes: number,
  discardGranularityBytes = logicalBlockBytes,
): Geometry {
  return {
    logicalBlockBytes,
    physicalBlockBytes: logicalBlockBytes,
    ioMinBytes: logicalBlockBytes,
    ioOptBytes: 0,
    discardGranularityBytes,
    maxDiscardBytes: DEFAULT_MAX_DISCARD_BYTES,
    maxWriteZeroesBytes: DEFAULT_MAX_DISCARD_BYTES,
    volatileCache: false,
    fua: false,
    rotational: false,
  };
}

/** What the media say, on blocks of the given size. */
export function mediaGeometry(media: Media, logicalBlockBytes: number): Geometry {
  return settle({
    logicalBlockBytes,
    physicalBlockBytes: Math.max(media.physicalBlockBytes, logicalBlockBytes),
    ioMinBytes: Math.max(media.ioMinBytes, media.physicalBlockBytes, logicalBlockBytes),
    ioOptBytes: media.ioOptBytes,
    discardGranularityBytes: media.discardGranularityBytes,
    maxDiscardBytes: media.maxDiscardBytes,
    maxWriteZeroesBytes: media.maxWriteZeroesBytes,
    volatileCache: media.volatileCache,
    fua: media.fua && media.volatileCache,
    rotational: media.rotational,
  }).geometry;
}

/** A leaf on a path, as a header would name it. */
export function seenFile({ layer, media }: LayerInput<"file"> | LayerInput<"block">): SeenFile {
  const { identity = null, image = null } = media ?? {};
  return { path: layer.options.path, format: "raw", identity, image };
}

/** A size that is stated is the size that is served: media that are shorter cannot, and a longer tail lies idle. */
export function statedSize(
  layer: LayerSpecOf<"file"> | LayerSpecOf<"block">,
  media: Media | undefined,
  whenLonger: Finding["severity"],
): Finding[] {
  const { path, size } = layer.options;
  if (media === undefined || !media.exists || size === null || size === media.sizeBytes) return [];
  const shorter = media.sizeBytes < size;
  return [
    {
      path: optionPath(layer, "size"),
      at: "value",
      code: shorter ? "file-too-small" : "size-differs",
      severity: shorter ? "error" : whenLonger,
      message: shorter
        ? `${quote(path)} has ${exactBytes(media.sizeBytes)}, less than the ${exactBytes(size)} of layer "${layer.name}"`
        : `${quote(path)} has ${exactBytes(media.sizeBytes)}; layer "${layer.name}" leaves ${media.sizeBytes - size} bytes at its end unused`,
      expected: exactBytes(media.sizeBytes),
      ...(shorter && layer.type === "file"
        ? { hint: `state its real size, or make it longer first: truncate -s ${size} '${path}'` }
        : {}),
    },
  ];
}

/** The length of existing media must be whole blocks. */
export function wholeBlocks(
  layer: LayerSpecOf<LayerType>,
  path: string,
  media: Media,
  block: number,
): Finding[] {
  if (!media.exists || media.sizeBytes % block === 0) return [];
  return [
    {
      path: optionPath(layer, "path"),
      at: "value",
      code: "size-not-multiple",
      severity: "error",
      message: `${quote(path)} has ${media.sizeBytes} bytes, which is not a multiple of the ${block}-byte blocks of layer "${layer.name}"`,
      expected: `a length of ${Math.floor(media.sizeBytes / block) * block} or ${Math.ceil(media.sizeBytes / block) * block} bytes`,
    },
  ];
}

/** Media that hold nothing cannot be served. */
export function notEmpty(layer: LayerSpecOf<LayerType>, path: string, media: Media | undefined): Finding[] {
  if (media === undefined || !media.exists || media.sizeBytes > 0) return [];
  return [
    {
      path: optionPath(layer, "path"),
      at: "value",
      code: "size-too-small",
      severity: "error",
      message: `${quote(path)} of layer "${layer.name}" is empty`,
    },
  ];
}

/** Blocks larger than a page: our exports cannot show them. */
export function blockFits(layer: LayerSpecOf<LayerType>, path: string, media: Media | undefined): Finding[] {
  if (media === undefined || media.logicalBlockBytes <= MAX_LOGICAL_BLOCK_BYTES) return [];
  return [
    {
      path: optionPath(layer, "path"),
      at: "value",
      code: "graph-mismatch",
      severity: "error",
      message: `${quote(path)} has blocks of ${media.logicalBlockBytes} bytes, and layer "${layer.name}" can show ${MAX_LOGICAL_BLOCK_BYTES} at most`,
    },
  ];
}

/** A leaf's answers about children, and to the planner: its bytes stay where the same place is still meant. */
export const leafAnswers = {
  creatable: false,
  adjustable: [],
  children: () => [],
  keeps(this: Pick<LayerKind<LayerType>, "place">, before: Content, after: Content) {
    return this.place(before.layer) === this.place(after.layer);
  },
  copies: () => [],
  head: () => undefined,
};
