import type { LayerKind } from "./kind.js";
import { idealGeometry, leafAnswers } from "./leaf.js";

/** null: takes every write and reads as zeros; for measuring what is above it. */
export const nullLayer: LayerKind<"null"> = {
  ...leafAnswers,
  type: "null",
  check: () => [],
  sizeBytes: ({ layer }) => layer.options.size,
  geometry: ({ layer }) => idealGeometry(layer.options.blockSize),
  params: () => ({}),
  // There is nothing to lose.
  survivesReboot: () => true,
  place: () => null,
};
