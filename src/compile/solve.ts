/**
 * Sizes and geometry, from the leaves up. A layer at fault has no size for those above it, so that one mistake is
 * one finding.
 */

import type { Geometry } from "../layers/geometry.js";
import { optionPath, type Shape } from "../layers/kind.js";
import { kindOf } from "../layers/registry.js";
import { type Finding, hasErrors } from "../spec/finding.js";
import type { LayerSpec, StackSpec } from "../spec/stack-spec.js";
import type { MediaByLayer } from "./media.js";
import { layerOf, type Usage } from "./usage.js";

export interface Solution {
  /** By layer name, for every layer of the spec. */
  readonly shapes: ReadonlyMap<string, Shape>;
  readonly findings: Finding[];
}

/** @returns shapes of all layers, also of those that nothing uses: their mistakes are worth knowing too */
export function solve(spec: StackSpec, media: MediaByLayer, usage: Usage): Solution {
  const shapes = new Map<string, Shape>();
  const findings: Finding[] = [];

  const shapeOf = (name: string): Shape => {
    const known = shapes.get(name);
    if (known !== undefined) return known;
    const layer = layerOf(spec, name);
    const kind = kindOf(layer);
    const input = {
      layer,
      children: kind.children(layer).map(shapeOf),
      media: media.get(name),
      grows: usage.grows(name),
      written: !usage.readOnly(name),
    };
    const own = [...kind.check(input), ...(input.grows ? growthFindings(layer, usage.needsSize(name)) : [])];
    const size = kind.sizeBytes(input);
    if (!hasErrors(own)) own.push(...sizeFindings(layer, size));
    findings.push(...own);
    const shape: Shape = {
      name,
      leaf: input.children.length === 0,
      sizeBytes: hasErrors(own) ? null : size,
      geometry: kind.geometry(input),
      survivesReboot: kind.survivesReboot(input.children),
      file: kind.file?.(input) ?? null,
    };
    shapes.set(name, shape);
    return shape;
  };

  for (const name of spec.layers.keys()) shapeOf(name);
  return { shapes, findings };
}

function sizeFindings(layer: LayerSpec, size: number | null): Finding[] {
  if (size === null || (size > 0 && Number.isSafeInteger(size))) return [];
  return [
    {
      path: optionPath(layer),
      at: "key",
      code: size === 0 ? "size-too-small" : "size-too-large",
      severity: "error",
      message:
        size === 0
          ? `layer "${layer.name}" would be empty`
          : `layer "${layer.name}" would be larger than 8 PiB`,
    },
  ];
}

/** What grows has no size for anybody but the format that it grows under. */
function growthFindings(layer: LayerSpec, users: readonly string[]): Finding[] {
  return users.map((user) => ({
    path: optionPath(layer),
    at: "key",
    code: "no-fixed-size",
    severity: "error",
    message: `layer "${layer.name}" says no size and grows under a format, and ${user} needs one`,
    expected: "a size, or no other use",
  }));
}

/** A layer whose size and geometry are known for sure. */
export interface SolvedShape {
  readonly sizeBytes: number;
  readonly geometry: Geometry;
}
