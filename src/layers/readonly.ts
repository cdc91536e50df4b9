import { showsBase } from "./instrument.js";
import type { LayerKind } from "./kind.js";

/** readonly: a disk that takes no more writes. */
export const readonlyLayer: LayerKind<"readonly"> = {
  ...showsBase,
  type: "readonly",
  adjustable: ["enabled"],
  params: ({ options }) => ({ enabled: options.enabled }),
};
