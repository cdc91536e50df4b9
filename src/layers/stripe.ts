import type { Finding } from "../spec/finding.js";
import type { LayerSpecOf } from "../spec/stack-spec.js";
import { exactBytes } from "./bytes.js";
import { mixedMembers, mixedSurvival, wastedMembers } from "./findings.js";
import { settle, stackGeometry } from "./geometry.js";
import { type LayerKind, optionPath, type Shape } from "./kind.js";

/** Bytes that every member contributes: the smallest one, in whole chunks; null while a size is unknown. */
function memberBytes(layer: LayerSpecOf<"stripe">, children: readonly Shape[]): number | null {
  const sizes = children.map((child) => child.sizeBytes);
  if (sizes.some((size) => size === null)) return null;
  const smallest = Math.min(...(sizes as number[]));
  return smallest - (smallest % layer.options.chunk);
}

/** A chunk that cuts the blocks of a member in two makes it read, change and write where it could just write. */
function chunkFits(layer: LayerSpecOf<"stripe">, children: readonly Shape[]): Finding[] {
  const { chunk } = layer.options;
  return children.flatMap((child): Finding[] => {
    const { physicalBlockBytes, ioMinBytes } = child.geometry;
    const physical = chunk % physicalBlockBytes !== 0;
    if (!physical && chunk % ioMinBytes === 0) return [];
    const [unit, what] = physical
      ? [physicalBlockBytes, "physical block size"]
      : [ioMinBytes, "preferred request"];
    return [
      {
        path: optionPath(layer, "chunk"),
        at: "value",
        code: "chunk-misaligned",
        severity: "warning",
        message: `the ${exactBytes(chunk)} chunk of "${layer.name}" is not a multiple of the ${what} of member "${child.name}", ${exactBytes(unit)}`,
        expected: `a multiple of ${exactBytes(unit)}`,
      },
    ];
  });
}

/** stripe: chunks dealt out in turn, as device mapper's striped target and md raid0 with equal members. */
export const stripe: LayerKind<"stripe"> = {
  type: "stripe",
  adjustable: [],
  children: (layer) => layer.options.members,

  check({ layer, children }) {
    const findings = [
      ...mixedMembers(layer, children),
      ...mixedSurvival(layer, children),
      ...chunkFits(layer, children),
    ];
    const used = memberBytes(layer, children);
    if (used === null) return findings;
    if (used > 0) return [...findings, ...wastedMembers(layer, children, used)];
    const { chunk } = layer.options;
    children.forEach((child, index) => {
      if ((child.sizeBytes ?? chunk) >= chunk) return;
      findings.push({
        path: optionPath(layer, "members", index),
        at: "value",
        code: "size-too-small",
        severity: "error",
        message: `member "${child.name}" of "${layer.name}" has ${exactBytes(child.sizeBytes ?? 0)}, less than one chunk`,
        expected: `at least ${exactBytes(chunk)}`,
      });
    });
    return findings;
  },

  sizeBytes({ layer, children }) {
    const each = memberBytes(layer, children);
    return each === null ? null : each * children.length;
  },

  /** The chunk and the row are what this layer prefers, as dm-stripe's io_hints say. */
  geometry({ layer, children }) {
    const { chunk } = layer.options;
    const { geometry } = stackGeometry(children.map((child) => child.geometry));
    return settle({ ...geometry, ioMinBytes: chunk, ioOptBytes: chunk * children.length }).geometry;
  },

  params: (layer) => ({ chunkBytes: layer.options.chunk }),
  survivesReboot: (children) => children.every((child) => child.survivesReboot),
  creatable: false,
  place: () => null,

  keeps(before, after, bytes, keeps) {
    const chunk = Number(before.layer.params.chunkBytes);
    const { children } = before;
    if (after.layer.params.chunkBytes !== chunk || after.children.length !== children.length)
      return undefined;
    const rows = Math.ceil(bytes / (chunk * children.length));
    const kept = children.every((child, index) => {
      const successor = after.children[index];
      return (
        successor !== undefined && keeps(child, successor, Math.min(rows * chunk, child.layer.sizeBytes))
      );
    });
    return kept || undefined;
  },

  copies: ({ children }) => (children.length === 1 ? children : []),
  head: ({ children }) => (children.length === 1 ? children[0] : undefined),
};
