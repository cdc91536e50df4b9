import type { LayerKind } from "./kind.js";
import { idealGeometry, leafAnswers, PAGE_BYTES } from "./leaf.js";

/** memory: a tmpfs file in the run directory. It outlives server and controller, not a reboot. */
export const memory: LayerKind<"memory"> = {
  ...leafAnswers,
  creatable: true,
  type: "memory",
  check: () => [],
  sizeBytes: ({ layer }) => layer.options.size,
  geometry: ({ layer }) => idealGeometry(layer.options.blockSize, PAGE_BYTES),
  params: () => ({}),
  survivesReboot: () => false,
  place: (layer) => `memory:${layer.name}`,
};
