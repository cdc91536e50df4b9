import { FAULT_PARAMS, faultParams, showsBase } from "./instrument.js";
import type { LayerKind } from "./kind.js";

/** error: requests that fail. */
export const error: LayerKind<"error"> = {
  ...showsBase,
  type: "error",
  adjustable: ["errno", ...FAULT_PARAMS],
  params: ({ options }) => ({ errno: options.errno, ...faultParams(options) }),
};
