import type { Finding } from "../spec/finding.js";
import { exactBytes } from "./bytes.js";
import { baseOf, showsBase } from "./instrument.js";
import { type LayerInput, type LayerKind, optionPath } from "./kind.js";

type Input = LayerInput<"partition">;

function sizeBytes({ layer, children }: Input): number | null {
  const { offset, size } = layer.options;
  if (size !== null) return size;
  const base = baseOf(children).sizeBytes;
  return base === null ? null : Math.max(0, base - offset);
}

/** It has to lie inside of its base, and on its blocks. */
function check(input: Input): Finding[] {
  const { layer, children } = input;
  const base = baseOf(children);
  const { offset } = layer.options;
  const block = base.geometry.logicalBlockBytes;
  const findings: Finding[] = [];
  const wrong = (option: "offset" | "size", code: Finding["code"], message: string, expected: string) => {
    const said = layer.options[option] !== null;
    const path = said ? optionPath(layer, option) : optionPath(layer);
    findings.push({ path, at: "value", code, severity: "error", message, expected });
  };
  const size = sizeBytes(input);
  for (const option of ["offset", "size"] as const) {
    if ((layer.options[option] ?? 0) % block === 0) continue;
    wrong(
      option,
      "size-not-multiple",
      `the ${option} of partition "${layer.name}" cuts a block of "${base.name}" in two`,
      `a multiple of ${exactBytes(block)}`,
    );
  }
  if (base.sizeBytes !== null && size !== null && (size === 0 || offset + size > base.sizeBytes)) {
    wrong(
      layer.options.size === null ? "offset" : "size",
      "size-too-small",
      `partition "${layer.name}" is to end at ${exactBytes(offset + size)}, and "${base.name}" has ${exactBytes(base.sizeBytes)}`,
      "a range inside of its base",
    );
  }
  return findings;
}

/** partition: a range of bytes of its base. */
export const partition: LayerKind<"partition"> = {
  ...showsBase,
  type: "partition",
  adjustable: [],
  check,
  sizeBytes,
  params: (layer) => ({ offsetBytes: layer.options.offset }),

  keeps(before, after, bytes, keeps) {
    if (before.layer.params.offsetBytes !== after.layer.params.offsetBytes) return undefined;
    const [old] = before.children;
    const [fresh] = after.children;
    const end = Number(before.layer.params.offsetBytes) + bytes;
    return (old !== undefined && fresh !== undefined && keeps(old, fresh, end)) || undefined;
  },
  copies: ({ layer, children }) => (layer.params.offsetBytes === 0 ? children : []),
  head: ({ layer, children }) => (layer.params.offsetBytes === 0 ? children[0] : undefined),
};
