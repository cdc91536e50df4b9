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
  /** Whether it may have any length: a format stands on it, and it says no size. */
  grows(layer: string): boolean;
  /** Of a layer that grows: those who use it and need a size, in words. */
  needsSize(layer: string): readonly string[];
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

  const grown = (parent: LayerSpec): readonly string[] => kindOf(parent).grows?.(parent) ?? [];
  const growing = new Set(
    [...spec.layers.values()].flatMap(grown).filter((name) => {
      const layer = layerOf(spec, name);
      return kindOf(layer).growable?.(layer) === true;
    }),
  );
  const needsSize = (name: string): string[] => [
    ...[...spec.layers.values()]
      .filter((parent) => children(parent.name).includes(name) && !grown(parent).includes(name))
      .map((parent) => `layer "${parent.name}"`),
    ...exports.filter((entry) => entry.layer === name).map((entry) => `export "${entry.name}"`),
  ];

  return {
    used,
    children,
    grows: (name) => growing.has(name),
    needsSize,
    written,
    parents: (name) => parents.get(name) ?? [],
    readOnly: (name) => readOnly.has(name),
  };
}
