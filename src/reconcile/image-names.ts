/**
 * How headers of images name the layers that a server opens as devices of others: the server sees a device whose
 * number changes, and the name has to be the same whether a stack is fused or layered.
 */

import type { Device, Table } from "../compile/table.js";
import { kindOfType } from "../layers/registry.js";

export interface ImageName {
  readonly name: string;
  /** What a program that opens it has to take it for. */
  readonly format: string;
}

/** @returns by layer name, for those layers of the device that are devices of the same table */
export function imageNames(
  device: Device,
  { devices }: Table,
  leafPaths: Readonly<Record<string, string>>,
): Record<string, ImageName> {
  return Object.fromEntries(
    device.layers.flatMap((layer): [string, ImageName][] => {
      const served = devices.find(({ name }) => name === layer.params.device);
      return served === undefined ? [] : [[layer.name, nameOf(served, leafPaths)]];
    }),
  );
}

/** A path where the layer is a file, or an image in one; else a name that no program takes for a path. */
function nameOf({ layers }: Device, leafPaths: Readonly<Record<string, string>>): ImageName {
  const [root] = layers;
  if (root === undefined) throw new RangeError("a device has a layer at least");
  const isFormat = kindOfType(root.type).headers !== undefined;
  const holder = isFormat ? layers[root.children[0] ?? -1] : root;
  const isLeaf = holder !== undefined && holder.children.length === 0;
  const path = isLeaf ? leafPaths[holder.name] : undefined;
  if (path === undefined) return { name: `ublk-stack:${root.name}`, format: "raw" };
  return { name: path, format: isFormat ? root.type : "raw" };
}
