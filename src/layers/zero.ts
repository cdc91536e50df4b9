import type { LayerKind } from "./kind.js";
import { idealGeometry, leafAnswers } from "./leaf.js";

/** zero: takes every write and reads as zeros, as device mapper's zero target. */
export const zero: LayerKind<"zero"> = {
  ...leafAnswers,
  type: "zero",
  check: () => [],
  sizeBytes: ({ layer }) => layer.options.size,
  geometry: ({ layer }) => idealGeometry(layer.options.blockSize),
  params: () => ({}),
  // There is nothing to lose.
  survivesReboot: () => true,
  place: () => null,
};
