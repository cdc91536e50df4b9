import type { Finding } from "../spec/finding.js";
import { exactBytes } from "./bytes.js";
import { type Geometry, settle } from "./geometry.js";
import { baseOf, showsBase, stated } from "./instrument.js";
import { type LayerInput, type LayerKind, optionPath } from "./kind.js";
import { idealGeometry, PAGE_BYTES } from "./leaf.js";

type Input = LayerInput<"cow">;

/** What it can, and how fast, is the overlay's; blocks suit both. */
function geometry({ children }: Input): Geometry {
  const base = baseOf(children).geometry;
  const [, overlay] = children;
  const above = overlay?.geometry ?? idealGeometry(base.logicalBlockBytes, PAGE_BYTES);
  const logicalBlockBytes = Math.max(base.logicalBlockBytes, above.logicalBlockBytes);
  const canZero = above.maxWriteZeroesBytes;
  return settle({
    ...base,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(base.physicalBlockBytes, above.physicalBlockBytes, logicalBlockBytes),
    ioMinBytes: Math.max(base.ioMinBytes, above.ioMinBytes, logicalBlockBytes),
    // A discard leaves zeros in the overlay, and the base as it is.
    discardGranularityBytes: canZero === 0 ? 0 : Math.max(above.discardGranularityBytes, logicalBlockBytes),
    maxDiscardBytes: canZero,
    maxWriteZeroesBytes: canZero,
    // The overlay is gone after a power cut, flushed or not.
    volatileCache: false,
    fua: false,
  }).geometry;
}

function sizeBytes(input: Input): number | null {
  const { sizeBytes } = baseOf(input.children);
  return sizeBytes === null ? null : sizeBytes - (sizeBytes % geometry(input).logicalBlockBytes);
}

function check(input: Input): Finding[] {
  const { layer, children } = input;
  const [, overlay] = children;
  const size = sizeBytes(input);
  const block = geometry(input).logicalBlockBytes;
  const findings: Finding[] = [];
  const wrong = (option: "overlay" | "granule", code: Finding["code"], message: string, expected: string) =>
    findings.push({
      path: optionPath(layer, option),
      at: "value",
      code,
      severity: "error",
      message,
      expected,
    });
  if (overlay?.sizeBytes != null && size !== null && overlay.sizeBytes < size) {
    wrong(
      "overlay",
      "size-too-small",
      `the overlay "${overlay.name}" of "${layer.name}" has ${exactBytes(overlay.sizeBytes)}, and its base ${exactBytes(size)}`,
      `at least ${exactBytes(size)}`,
    );
  }
  if (layer.options.granule < block) {
    wrong(
      "granule",
      "size-not-multiple",
      `the granule of "${layer.name}" is smaller than a block of its members`,
      `at least ${exactBytes(block)}`,
    );
  }
  return findings;
}

/** cow: changes go to a throw-away overlay, and the base is only read. */
export const cow: LayerKind<"cow"> = {
  ...showsBase,
  type: "cow",
  remembers: true,
  adjustable: ["reset"],
  children: ({ options }) => (options.overlay === null ? [options.base] : [options.base, options.overlay]),
  onlyReads: ({ options }) => [options.base],
  check,
  sizeBytes,
  geometry,
  params: ({ options }) =>
    stated({
      granuleBytes: options.granule,
      reset: options.reset === null ? null : String(options.reset),
    }),
  survivesReboot: () => false,
};
