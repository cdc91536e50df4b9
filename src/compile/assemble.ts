/** From placed exports and solved layers to the devices of a table. */

import { kindOf } from "../layers/registry.js";
import type { Finding } from "../spec/finding.js";
import type { StackSpec } from "../spec/stack-spec.js";
import type { Host } from "./media.js";
import { byName, childrenFirst, parentsFirst } from "./order.js";
import type { PlacedExport, Placement } from "./placement.js";
import type { SolvedShape } from "./solve.js";
import { type Access, type Device, type DeviceExport, NBD_DEVICE, type TableLayer } from "./table.js";
import { layerOf, type Usage } from "./usage.js";

/** Queues beyond this bring little and cost memory; who wants more says so. */
const DEFAULT_MAX_QUEUES = 4;
const DEFAULT_DEPTH = 128;
const PRIVATE: Access = { owner: null, group: null, mode: "0600" };

interface Parts {
  readonly spec: StackSpec;
  readonly usage: Usage;
  readonly placement: Placement;
  readonly shapes: ReadonlyMap<string, SolvedShape>;
  readonly host: Host;
}

/** A layer at the top of a device, and whether the device lets anybody write to it. */
interface Root {
  readonly layer: string;
  readonly readOnly: boolean;
}

/** All devices, each after those that it opens. */
export function assemble(parts: Parts): Device[] {
  const devices = new Map<string, Device>();
  for (const layer of parts.placement.cuts) devices.set(layer, ublkDevice(parts, layer));
  const nbd = parts.placement.exports.filter((entry) => entry.frontend === "nbd");
  if (nbd.length > 0) devices.set(NBD_DEVICE, nbdDevice(parts, nbd));

  const bottomUp = childrenFirst([...devices.keys()].sort(byName), (name) => devices.get(name)?.opens ?? []);
  return bottomUp.flatMap((name) => devices.get(name) ?? []);
}

function ublkDevice(parts: Parts, layer: string): Device {
  const { usage, placement, host } = parts;
  const entry = placement.exports.find(
    ({ spec, frontend }) => spec.layer === layer && frontend === "ublk",
  )?.spec;
  const readOnly = usage.readOnly(layer);
  const queues = entry?.ublk.queues ?? Math.min(host.cpus, DEFAULT_MAX_QUEUES);
  const { layers, opens } = layersBelow(parts, [{ layer, readOnly }], layer);
  return {
    name: layer,
    frontend: "ublk",
    layers,
    exports: [{ name: entry?.name ?? null, root: 0, readOnly }],
    ublk: {
      queues,
      depth: entry?.ublk.depth ?? DEFAULT_DEPTH,
      id: entry?.ublk.id ?? -1,
      engine: parts.spec.engine,
      poll: entry?.ublk.poll ?? "auto",
    },
    nbd: null,
    access: entry === undefined ? { ...PRIVATE } : ublkAccess(entry, readOnly),
    opens,
  };
}

/**
 * The kernel knows one read-only flag per disk. Where the layer above writes through this disk, the flag must stay
 * clear: the export is read-only by the mode of its node, and claimed exclusively by the device above.
 */
function ublkAccess(entry: PlacedExport["spec"], readOnly: boolean): Access {
  const mode = Number.parseInt(entry.mode, 8);
  const shown = entry.readOnly && !readOnly ? mode & ~0o222 : mode;
  return { owner: entry.owner, group: entry.group, mode: shown.toString(8).padStart(4, "0") };
}

function nbdDevice(parts: Parts, entries: readonly PlacedExport[]): Device {
  const { spec } = parts;
  const roots = entries.map((entry): Root => ({ layer: entry.spec.layer, readOnly: entry.readOnly }));
  const { layers, opens } = layersBelow(parts, roots, null);
  const exports = entries.map((entry): DeviceExport => {
    const root = layers.findIndex((layer) => layer.name === entry.spec.layer);
    return { name: entry.spec.name, root, readOnly: entry.readOnly };
  });
  const first = entries[0]?.spec;
  const access = first === undefined ? PRIVATE : first;
  return {
    name: NBD_DEVICE,
    frontend: "nbd",
    layers,
    exports,
    ublk: null,
    nbd: { socket: spec.nbd.socket, tcp: spec.nbd.tcp },
    access: { owner: access.owner, group: access.group, mode: access.mode },
    opens,
  };
}

/** One socket has one owner and one mode: exports that share it must not ask for several. */
export function sharedSocket(placement: Placement): Finding[] {
  const [first, ...rest] = placement.exports.filter((entry) => entry.frontend === "nbd");
  return rest.flatMap(({ spec: entry }): Finding[] => {
    const key = (["owner", "group", "mode"] as const).find((name) => entry[name] !== first?.spec[name]);
    if (key === undefined || first === undefined) return [];
    return [
      {
        path: [...entry.docPath, key],
        at: "value",
        code: "bad-value",
        severity: "error",
        message: `exports "${first.spec.name}" and "${entry.name}" share the stack's NBD socket and ask for different ${key}s of it`,
        expected: `the ${key} of "${first.spec.name}": ${first.spec[key] ?? "none"}`,
      },
    ];
  });
}

/**
 * The layers of one device: everything below its roots down to the leaves, or to a layer that another device
 * serves, which is opened as a block device. A layer that several parents share appears once.
 * @param self the layer that this device serves, null when it serves none as a device (NBD)
 */
function layersBelow(
  parts: Parts,
  roots: readonly Root[],
  self: string | null,
): { layers: TableLayer[]; opens: string[] } {
  const { spec, usage, placement, shapes } = parts;
  const opened = (name: string) => name !== self && placement.cuts.has(name);
  const children = (name: string) => (opened(name) ? [] : usage.children(name));
  const order = parentsFirst(
    roots.map((root) => root.layer),
    children,
  );
  const index = new Map(order.map((name, position) => [name, position]));

  const written = new Set(roots.filter((root) => !root.readOnly).map((root) => root.layer));
  for (const name of order) {
    if (!written.has(name) || opened(name)) continue;
    for (const child of usage.written(name)) written.add(child);
  }

  const layers = order.map((name): TableLayer => {
    const layer = layerOf(spec, name);
    const shape = shapes.get(name);
    if (shape === undefined) throw new RangeError(`layer ${JSON.stringify(name)} is not solved`);
    return {
      name,
      type: opened(name) ? "block" : layer.type,
      sizeBytes: shape.sizeBytes,
      readOnly: usage.readOnly(name) || !written.has(name),
      children: children(name).flatMap((child) => index.get(child) ?? []),
      geometry: { ...shape.geometry },
      params: opened(name) ? { device: name } : kindOf(layer).params(layer, usage.grows(name)),
    };
  });
  return { layers, opens: order.filter(opened).sort(byName) };
}
