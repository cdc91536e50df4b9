import type { Finding } from "../spec/finding.js";
import { baseOf, showsBase } from "./instrument.js";
import { type LayerInput, type LayerKind, optionPath } from "./kind.js";

type Input = LayerInput<"badblocks">;

function rangeOf(entry: number | string): readonly [number, number] {
  const [first = 0, last = first] = String(entry).split("-").map(Number);
  return [first, last];
}

/** Each entry of the list has to be blocks of the base. */
function check({ layer, children }: Input): Finding[] {
  const { blocks, blockSize } = layer.options;
  const { sizeBytes } = baseOf(children);
  const count = sizeBytes === null ? Number.MAX_SAFE_INTEGER : Math.ceil(sizeBytes / blockSize);
  return blocks.flatMap((entry, index): Finding[] => {
    const [first, last] = rangeOf(entry);
    const path = optionPath(layer, "blocks", index);
    const wrong = (message: string, expected: string): Finding[] => [
      { path, at: "value", code: "out-of-range", severity: "error", message, expected },
    ];
    if (last < first) return wrong(`the range ${entry} ends before it begins`, `${last}-${first}`);
    if (last < count) return [];
    return wrong(
      `there is no block ${last} in layer "${layer.name}", which has ${count} of ${blockSize} bytes`,
      `0 to ${count - 1}`,
    );
  });
}

/** badblocks: places that cannot be read until they are rewritten. */
export const badblocks: LayerKind<"badblocks"> = {
  ...showsBase,
  type: "badblocks",
  adjustable: ["blocks", "blockBytes", "writeFailures", "enabled"],
  check,
  params: ({ options }) => ({
    blocks: options.blocks.join(","),
    blockBytes: options.blockSize,
    writeFailures: options.writeFailures,
    enabled: options.enabled,
  }),
};
