/** Who uses which layer, and which layers nobody writes to. */

import { kindOf } from "../layers/registry.js";
import type { LayerSpec, StackSpec } from "../spec/stack-spec.js";
import { parentsFirst } from "./order.js";

export interface Usage {
  /** The layers that some export needs, parents before children. */
  readonly used: readonly string[];
  children(layer: string): readonly string[];
  parents(layer: string): readonly string[];
  /** Those of the children that are written when the layer is. */
  written(layer: string): readonly string[];
  /** Whether no write ever reaches the layer: it says so, a member does, or everything above it is read-only. */
  readOnly(layer: string): boolean;
}

/** The layer of that name. @throws RangeError when there is none: a StackSpec names only layers that exist */
export function layerOf(spec: StackSpec, name: string): LayerSpec {
  const layer = spec.layers.get(name);
  if (layer === undefined) throw new RangeError(`no layer is called ${JSON.stringify(name)}`);
  return layer;
}

export function usageOf(spec: StackSpec): Usage {
  const children = (name: string): readonly string[] => {
    const layer = layerOf(spec, name);
    return kindOf(layer).children(layer);
  };
  const written = (name: string): readonly string[] => {
    const layer = layerOf(spec, name);
    const spared = kindOf(layer).onlyReads?.(layer) ?? [];
    return children(name).filter((child) => !spared.includes(child));
  };
  const exports = [...spec.exports.values()];
  const used = parentsFirst(
    exports.map((entry) => entry.layer),
    children,
  );

  const parents = new Map<string, string[]>();
  for (const name of used) {
    for (const child of children(name)) parents.set(child, [...(parents.get(child) ?? []), name]);
  }

  const readOnly = new Set<string>();
  for (const name of used) {
    const above = parents.get(name) ?? [];
    const shown = exports.filter((entry) => entry.layer === name);
    const nobodyWrites =
      above.every((parent) => readOnly.has(parent) || !written(parent).includes(name)) &&
      shown.every((entry) => entry.readOnly);
    if (layerOf(spec, name).readOnly || nobodyWrites) readOnly.add(name);
  }

  return {
    used,
    children,
    written,
    parents: (name) => parents.get(name) ?? [],
    readOnly: (name) => readOnly.has(name),
  };
}
