import type { Finding } from "../spec/finding.js";
import { quote } from "../spec/place.js";
import { exactBytes, UNBOUNDED_BYTES } from "./bytes.js";
import { DEFAULT_MAX_DISCARD_BYTES, type Geometry, settle } from "./geometry.js";
import { type LayerInput, type LayerKind, optionPath } from "./kind.js";
import {
  blockFits,
  leafAnswers,
  mediaGeometry,
  notEmpty,
  PAGE_BYTES,
  seenFile,
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

/** A bound is for files that grow, and holds for what is there already. */
function growth({ layer, media, grows }: LayerInput<"file">): Finding[] {
  const { path, size, sizeMax } = layer.options;
  const finding = (code: Finding["code"], message: string, expected: string): Finding[] => [
    { path: optionPath(layer, "sizeMax"), at: "value", code, severity: "error", message, expected },
  ];
  if (sizeMax === null) return [];
  if (!grows) {
    const why = size === null ? "no format such as qcow2 stands on it" : "its size is stated";
    return finding("unused-option", `file layer "${layer.name}" does not grow: ${why}`, "no sizeMax");
  }
  if (media === undefined || media.sizeBytes <= sizeMax) return [];
  return finding(
    "size-differs",
    `${quote(path)} of layer "${layer.name}" has ${exactBytes(media.sizeBytes)} already`,
    `at least ${exactBytes(media.sizeBytes)}`,
  );
}

/** file: a regular file, byte for byte. */
export const file: LayerKind<"file"> = {
  ...leafAnswers,
  creatable: true,
  type: "file",

  growable: ({ options }) => options.size === null,

  check(input) {
    const { layer, media, grows } = input;
    const findings = growth(input);
    if (media === undefined) return findings;
    const { path, size, blockSize, direct, create } = layer.options;
    findings.push(...statedSize(layer, media, "warning"), ...blockFits(layer, path, media));
    if (size === null && !grows) {
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
    } else if (!media.exists && size === null && !grows) {
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

  sizeBytes({ layer, media, grows }) {
    if (layer.options.size !== null) return layer.options.size;
    if (grows) return layer.options.sizeMax ?? UNBOUNDED_BYTES;
    return media?.exists ? media.sizeBytes : null;
  },

  geometry({ layer, media }) {
    const { blockSize } = layer.options;
    return media === undefined ? unseenGeometry(blockSize) : mediaGeometry(media, blockSize);
  },

  params: ({ options }, grows) => ({
    path: options.path,
    direct: options.direct,
    ...(grows ? { grows: true } : {}),
  }),
  survivesReboot: () => true,
  file: seenFile,
  madeBytes: ({ params, sizeBytes }) => (params.grows === true ? 0 : sizeBytes),
  place: (layer) => `file:${layer.params.path}`,
};
