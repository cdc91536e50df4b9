/** What the fixed tables of the mapping core hold (native/core/table.h), checked per device. */

import type { Finding } from "../spec/finding.js";
import { MAX_DEPTH, MAX_MEMBERS, type StackSpec } from "../spec/stack-spec.js";
import type { Device } from "./table.js";
import { layerOf } from "./usage.js";

export const MAX_LAYERS_PER_DEVICE = 64;
export const MAX_LINKS_PER_DEVICE = 256;

/** Levels from a root down to a leaf, both counted: children stand behind their parents, so one pass does. */
export function depthOf(device: Device): number {
  const levels = device.layers.map(() => 1);
  device.layers.forEach((layer, index) => {
    for (const child of layer.children)
      levels[child] = Math.max(levels[child] ?? 0, (levels[index] ?? 0) + 1);
  });
  return Math.max(...levels);
}

export function limitFindings(spec: StackSpec, devices: readonly Device[]): Finding[] {
  return devices.flatMap((device): Finding[] => {
    const [root] = device.layers;
    if (root === undefined) return [];
    const links = device.layers.reduce((sum, layer) => sum + layer.children.length, 0);
    const at = { path: [...layerOf(spec, root.name).docPath], at: "key", severity: "error" } as const;
    const name = device.frontend === "nbd" ? "the stack's NBD server" : `device "${device.name}"`;
    const findings: Finding[] = [];
    if (device.layers.length > MAX_LAYERS_PER_DEVICE || links > MAX_LINKS_PER_DEVICE) {
      findings.push({
        ...at,
        code: "too-many-layers",
        message: `${name} would be made of ${device.layers.length} layers with ${links} members`,
        expected: `${MAX_LAYERS_PER_DEVICE} layers and ${MAX_LINKS_PER_DEVICE} members at most`,
        hint: "export a layer in the middle on ublk, or use several stacks",
      });
    }
    const depth = depthOf(device);
    if (depth > MAX_DEPTH) {
      findings.push({
        ...at,
        code: "too-deep",
        message: `${name} would be ${depth} layers deep`,
        expected: `${MAX_DEPTH} levels at most`,
      });
    }
    for (const layer of device.layers) {
      if (layer.children.length <= MAX_MEMBERS) continue;
      findings.push({
        ...at,
        path: [...layerOf(spec, layer.name).docPath],
        code: "too-many-members",
        message: `layer "${layer.name}" has ${layer.children.length} members`,
        expected: `${MAX_MEMBERS} at most`,
      });
    }
    return findings;
  });
}
