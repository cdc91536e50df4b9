/** What is wrong with where and when a layer strikes, so that it would strike nothing without a word. */

import type { Finding } from "../spec/finding.js";
import type { LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import { exactBytes } from "./bytes.js";
import { optionPath, type Shape } from "./kind.js";

interface Range {
  readonly start: number;
  readonly length: number | null;
}
interface Schedule {
  readonly up: number | null;
  readonly down: number | null;
}

/** @param within the option whose range it is; none: the layer's own */
export function rangeFindings(
  layer: LayerSpecOf<LayerType>,
  base: Shape,
  { start, length }: Range,
  ...within: string[]
): Finding[] {
  const size = base.sizeBytes;
  if (size === null) return [];
  const wrong = (option: keyof Range, message: string, expected: string): Finding[] => [
    {
      path: optionPath(layer, ...within, option),
      at: "value",
      code: "out-of-range",
      severity: "error",
      message,
      expected,
    },
  ];
  const range = `the range of ${[...within, `"${layer.name}"`].join(" of ")}`;
  if (start >= size) {
    const message = `${range} begins at ${exactBytes(start)}, and the layer has ${exactBytes(size)}`;
    return wrong("start", message, `less than ${exactBytes(size)}`);
  }
  if (length === null || length <= size - start) return [];
  const message = `${range} ends at ${exactBytes(start + length)}, and the layer has ${exactBytes(size)}`;
  return wrong("length", message, `${exactBytes(size - start)} at most`);
}

/** @param within the option whose schedule it is; none: the layer's own */
export function scheduleFindings(
  layer: LayerSpecOf<LayerType>,
  { up, down }: Schedule,
  ...within: string[]
): Finding[] {
  if ((up === null) === (down === null)) return [];
  const [said, missing] = up === null ? (["down", "up"] as const) : (["up", "down"] as const);
  return [
    {
      path: optionPath(layer, ...within, said),
      at: "key",
      code: "missing-key",
      severity: "error",
      message: `${[...within, `"${layer.name}"`].join(" of ")} says ${said} and not ${missing}`,
      expected: "both of up and down, or neither",
    },
  ];
}
