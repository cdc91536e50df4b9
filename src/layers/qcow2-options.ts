/** What is wrong with a qcow2 layer whatever its image holds: options that contradict one another, or the format. */

import type { Finding } from "../spec/finding.js";
import type { LayerOptions, LayerSpecOf } from "../spec/stack-spec.js";
import { exactBytes } from "./bytes.js";
import { baseOf } from "./instrument.js";
import { type LayerInput, optionPath } from "./kind.js";

type Input = LayerInput<"qcow2">;
type Layer = LayerSpecOf<"qcow2">;
type Option = keyof LayerOptions["qcow2"];

/** QEMU's defaults, where an image is made. */
const DEFAULTS = { clusterBytes: 64 * 1024, refcountBits: 16 } as const;
const MIN_EXTENDED_CLUSTER_BYTES = 16 * 1024;
/** Of the format, and of QEMU. */
const MAX_L1_BYTES = 32 * 1024 * 1024;

export function optionFindings(input: Input, blockBytes: number): Finding[] {
  return [
    ...versionFindings(input.layer),
    ...createFindings(input.layer),
    ...clusterFindings(input, blockBytes),
    ...sizeFindings(input, blockBytes),
  ];
}

/** Makes findings about an option of a layer. */
export function findingAt(layer: Layer) {
  return (
    option: Option,
    code: Finding["code"],
    message: string,
    more: Pick<Finding, "expected" | "hint"> = {},
  ): Finding => ({
    path: optionPath(layer, option),
    at: "value",
    code,
    severity: "error",
    message,
    ...more,
  });
}

/** Version 2 knows nothing of what came with version 3. */
function versionFindings(layer: Layer): Finding[] {
  const { options, name } = layer;
  if (options.version !== 2) return [];
  const newer: readonly [Option, boolean, string][] = [
    ["extendedL2", options.extendedL2 === true, "extended L2 entries"],
    ["compression", options.compression === "zstd", "compression by zstd"],
    ["lazyRefcounts", options.lazyRefcounts === true, "lazy refcounts"],
    ["dataFile", options.dataFile !== null, "data files"],
    [
      "refcountBits",
      (options.refcountBits ?? DEFAULTS.refcountBits) !== DEFAULTS.refcountBits,
      "refcounts but those of 16 bits",
    ],
  ];
  return newer
    .filter(([, used]) => used)
    .map(([option, , what]) =>
      findingAt(layer)(option, "bad-value", `"${name}" has version 2 of the format, which knows no ${what}`, {
        expected: "version: 3",
      }),
    );
}

function createFindings(layer: Layer): Finding[] {
  const { create, overwrite, preallocation, backing } = layer.options;
  const finding = findingAt(layer);
  const findings: Finding[] = [];
  if (create === "always" && overwrite !== true) {
    findings.push(
      finding("create", "bad-value", `create: always writes over what the base of "${layer.name}" holds`, {
        expected: "overwrite: true beside it",
      }),
    );
  }
  if (create !== "always" && overwrite === true) {
    findings.push({
      ...finding("overwrite", "unused-option", `nothing is overwritten by create: ${create}`),
      severity: "warning",
    });
  }
  if (backing !== null && preallocation !== null && preallocation !== "off") {
    findings.push(
      finding(
        "preallocation",
        "bad-value",
        `what is preallocated in the image of "${layer.name}" would hide its backing`,
        { expected: "off" },
      ),
    );
  }
  return findings;
}

function clusterFindings({ layer, children }: Input, blockBytes: number): Finding[] {
  const { clusterSize, extendedL2 } = layer.options;
  if (clusterSize === null) return [];
  const finding = findingAt(layer);
  if (extendedL2 === true && clusterSize < MIN_EXTENDED_CLUSTER_BYTES) {
    return [
      finding(
        "clusterSize",
        "out-of-range",
        `clusters of "${layer.name}" have ${exactBytes(clusterSize)}, too few for extended L2 entries`,
        { expected: `at least ${exactBytes(MIN_EXTENDED_CLUSTER_BYTES)}` },
      ),
    ];
  }
  if (clusterSize >= blockBytes) return [];
  const giver = children.find((child) => child.geometry.logicalBlockBytes === blockBytes);
  return [
    finding(
      "clusterSize",
      "out-of-range",
      `clusters of "${layer.name}" have ${exactBytes(clusterSize)}, less than a block of "${giver?.name}"`,
      { expected: `at least ${exactBytes(blockBytes)}` },
    ),
  ];
}

function sizeFindings({ layer, children }: Input, blockBytes: number): Finding[] {
  const { size, create } = layer.options;
  const base = baseOf(children);
  const finding = findingAt(layer);
  if (size === null) {
    if (create === "always") {
      const message = `"${layer.name}" has no size, and its image is made anew`;
      return [finding("size", "missing-key", message, { expected: "the size of the disk" })];
    }
    if (base.file?.format === "raw") return [];
    const message = `"${layer.name}" has no size: its base "${base.name}" is no file or block device, whose image would tell`;
    return [finding("size", "missing-key", message, { expected: "the size of the disk" })];
  }
  if (size % blockBytes !== 0) {
    const message = `the size of "${layer.name}" is not a multiple of its ${blockBytes}-byte blocks`;
    return [
      finding("size", "size-not-multiple", message, { expected: `a multiple of ${exactBytes(blockBytes)}` }),
    ];
  }
  const most = mostBytes(layer);
  if (size <= most) return [];
  const cluster = exactBytes(layer.options.clusterSize ?? DEFAULTS.clusterBytes);
  return [
    finding(
      "size",
      "out-of-range",
      `a disk of ${exactBytes(size)} is too large for clusters of ${cluster}: its L1 table would have more than ${exactBytes(MAX_L1_BYTES)}`,
      { expected: `at most ${exactBytes(most)}, or larger clusters` },
    ),
  ];
}

/** An L1 entry of 8 bytes for each cluster full of L2 entries of 8 bytes, or 16. */
function mostBytes({ options }: Layer): number {
  const cluster = options.clusterSize ?? DEFAULTS.clusterBytes;
  const span = (cluster / (options.extendedL2 === true ? 16 : 8)) * cluster;
  return Math.min((MAX_L1_BYTES / 8) * span, Number.MAX_SAFE_INTEGER);
}
