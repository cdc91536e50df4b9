/** Findings that several layer types make in the same words. */

import type { Finding } from "../spec/finding.js";
import type { LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import { exactBytes } from "./bytes.js";
import type { Misfit, Stacked } from "./geometry.js";
import { optionPath, type Shape } from "./kind.js";

const quoted = (names: readonly string[]) => names.map((name) => `"${name}"`).join(", ");

/** @returns how many bytes of each member a layer cannot use that takes `usedBytes` of every one */
export function wastedMembers(
  layer: LayerSpecOf<LayerType>,
  children: readonly Shape[],
  usedBytes: number,
): Finding[] {
  const wasted = children.map((child) => Math.max(0, (child.sizeBytes ?? usedBytes) - usedBytes));
  const total = wasted.reduce((sum, bytes) => sum + bytes, 0);
  if (total === 0) return [];
  const losers = children.flatMap((child, index) =>
    wasted[index] ? [`${wasted[index]} of "${child.name}"`] : [],
  );
  return [
    {
      path: optionPath(layer, "members"),
      at: "value",
      code: "unequal-members",
      severity: "warning",
      message: `layer "${layer.name}" wastes ${total} bytes of its members`,
      hint: `it uses ${exactBytes(usedBytes)} of each member; not used: ${losers.join(", ")}`,
    },
  ];
}

/** Members whose blocks, discards or life differ: allowed, but somebody should know. */
export function mixedMembers(layer: LayerSpecOf<LayerType>, children: readonly Shape[]): Finding[] {
  return [...mixedBlocks(layer, children), ...lostDiscard(layer, children)];
}

function mixedBlocks(layer: LayerSpecOf<LayerType>, children: readonly Shape[]): Finding[] {
  const blocks = children.map((child) => child.geometry.logicalBlockBytes);
  const largest = Math.max(...blocks);
  if (blocks.every((bytes) => bytes === largest)) return [];
  const smaller = children.filter((child) => child.geometry.logicalBlockBytes < largest);
  const giver = children.find((child) => child.geometry.logicalBlockBytes === largest);
  return [
    {
      path: optionPath(layer, "members"),
      at: "value",
      code: "block-size-mismatch",
      severity: "warning",
      message: `layer "${layer.name}" has blocks of ${largest} bytes because of member "${giver?.name}"; smaller: ${quoted(
        smaller.map((child) => child.name),
      )}`,
    },
  ];
}

function lostDiscard(layer: LayerSpecOf<LayerType>, children: readonly Shape[]): Finding[] {
  const cannot = children.filter((child) => child.geometry.maxDiscardBytes === 0);
  if (cannot.length === 0 || cannot.length === children.length) return [];
  return [
    {
      path: optionPath(layer, "members"),
      at: "value",
      code: "discard-lost",
      severity: "warning",
      message: `layer "${layer.name}" cannot discard because member ${quoted(cannot.map((child) => child.name))} cannot`,
    },
  ];
}

const MISFIT_WORDS: Record<Misfit, string> = {
  physicalBlockBytes: "physical block size",
  ioMinBytes: "smallest preferred request",
  ioOptBytes: "preferred request for streaming",
};

/** Preferences of the members that do not fit together and are given up, as the kernel does when it stacks them. */
export function misfitMembers(layer: LayerSpecOf<LayerType>, stacked: Stacked): Finding[] {
  if (stacked.misfits.length === 0) return [];
  const lost = stacked.misfits.map((misfit) => MISFIT_WORDS[misfit]).join(" and ");
  return [
    {
      path: optionPath(layer, "members"),
      at: "value",
      code: "block-size-mismatch",
      severity: "warning",
      message: `layer "${layer.name}" gives up the ${lost} of its members: they are not multiples of each other`,
    },
  ];
}

/** Members of which only some lose their content at a reboot, under a layer that needs all of them. */
export function mixedSurvival(layer: LayerSpecOf<LayerType>, children: readonly Shape[]): Finding[] {
  const lost = children.filter((child) => !child.survivesReboot);
  if (lost.length === 0 || lost.length === children.length) return [];
  return [
    {
      path: optionPath(layer, "members"),
      at: "value",
      code: "volatile-member",
      severity: "warning",
      message: `layer "${layer.name}" loses its content at a reboot because of member ${quoted(
        lost.map((child) => child.name),
      )}`,
      hint: "the other members keep theirs, but the layer is useless without all of them",
    },
  ];
}
