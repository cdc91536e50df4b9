import type { Finding } from "../spec/finding.js";
import { quote } from "../spec/place.js";
import { DEFAULT_MAX_DISCARD_BYTES, type Geometry, settle } from "./geometry.js";
import { type LayerKind, optionPath } from "./kind.js";
import {
  blockFits,
  leafAnswers,
  mediaGeometry,
  notEmpty,
  PAGE_BYTES,
  statedSize,
  wholeBlocks,
} from "./leaf.js";

/** A regular file that nobody has looked at: pages underneath, holes can be punched, fdatasync makes it durable. */
function unseenGeometry(blockSize: number): Geometry {
  return settle({
    logicalBlockBytes: blockSize,
    physicalBlockBytes: PAGE_BYTES,
    ioMinBytes: PAGE_BYTES,
    ioOptBytes: 0,
    discardGranularityBytes: PAGE_BYTES,
    maxDiscardBytes: DEFAULT_MAX_DISCARD_BYTES,
    maxWriteZeroesBytes: DEFAULT_MAX_DISCARD_BYTES,
    volatileCache: true,
    fua: true,
    rotational: false,
  }).geometry;
}

/** file: a regular file, byte for byte. */
export const file: LayerKind<"file"> = {
  ...leafAnswers,
  creatable: true,
  type: "file",

  check({ layer, media }) {
    if (media === undefined) return [];
    const { path, size, blockSize, direct, create } = layer.options;
    const findings: Finding[] = [...statedSize(layer, media, "warning"), ...blockFits(layer, path, media)];
    if (size === null) {
      findings.push(...wholeBlocks(layer, path, media, blockSize), ...notEmpty(layer, path, media));
    }
    if (!media.exists && create === "never") {
      findings.push({
        path: optionPath(layer, "path"),
        at: "value",
        code: "path-missing",
        severity: "error",
        message: `file ${quote(path)} of layer "${layer.name}" does not exist, and create: never forbids to make it`,
      });
    } else if (!media.exists && size === null) {
      findings.push({
        path: optionPath(layer, "path"),
        at: "value",
        code: "file-without-size",
        severity: "error",
        message: `file ${quote(path)} of layer "${layer.name}" does not exist, and no size says how to create it`,
        hint: "correct the path, or add a size",
      });
    }
    if (direct === "on" && media.logicalBlockBytes > blockSize) {
      findings.push({
        path: optionPath(layer, "direct"),
        at: "value",
        code: "direct-unsupported",
        severity: "error",
        message: `direct IO on ${quote(path)} needs blocks of ${media.logicalBlockBytes} bytes, and layer "${layer.name}" has ${blockSize}`,
        expected: `blockSize: ${media.logicalBlockBytes}, or direct: auto`,
      });
    }
    return findings;
  },

  sizeBytes({ layer, media }) {
    if (layer.options.size !== null) return layer.options.size;
    return media?.exists ? media.sizeBytes : null;
  },

  geometry({ layer, media }) {
    const { blockSize } = layer.options;
    return media === undefined ? unseenGeometry(blockSize) : mediaGeometry(media, blockSize);
  },

  params: (layer) => ({ path: layer.options.path, direct: layer.options.direct }),
  survivesReboot: () => true,
  place: (layer) => `file:${layer.params.path}`,
};
