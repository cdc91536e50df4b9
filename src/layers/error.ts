import { rangeFindings, scheduleFindings } from "./faults.js";
import { baseOf, FAULT_PARAMS, faultParams, showsBase } from "./instrument.js";
import type { LayerKind } from "./kind.js";

/** error: requests that fail. */
export const error: LayerKind<"error"> = {
  ...showsBase,
  type: "error",
  adjustable: ["errno", ...FAULT_PARAMS],
  check: ({ layer, children }) => [
    ...rangeFindings(layer, baseOf(children), layer.options),
    ...scheduleFindings(layer, layer.options),
  ],
  params: ({ options }) => ({ errno: options.errno, ...faultParams(options) }),
};
