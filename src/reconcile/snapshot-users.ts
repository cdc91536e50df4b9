/** Who would see the bytes of a layer change: what stands on it, across the devices of its stack, and who uses that. */

import type { Device, Table, TableLayer } from "../compile/table.js";
import { remembers } from "../layers/registry.js";
import type { DeviceView, StackView } from "./observe.js";

export interface LayerPlace {
  readonly device: Device;
  readonly index: number;
}

export interface Above {
  /** Layers that rely on the bytes below them to stay as they are. */
  readonly remembering: readonly TableLayer[];
  /** What shows the layer or a part of it: exports of NBD, and devices of ublk. */
  readonly exports: readonly { readonly device: Device; readonly name: string | null }[];
}

/** Where other devices of the stack open this one. */
function opened(table: Table, device: Device): LayerPlace[] {
  return table.devices
    .filter((other) => other.opens.includes(device.name))
    .flatMap((other) =>
      other.layers.flatMap((layer, index) =>
        layer.params.device === device.name ? [{ device: other, index }] : [],
      ),
    );
}

/** Pure. */
export function findAbove(table: Table, place: LayerPlace): Above {
  const remembering: TableLayer[] = [];
  const exports: { device: Device; name: string | null }[] = [];
  const seen = new Set<string>();
  const visit = ({ device, index }: LayerPlace): void => {
    const key = `${device.name}/${index}`;
    if (seen.has(key)) return;
    seen.add(key);
    for (const { name, root } of device.exports) if (root === index) exports.push({ device, name });
    if (index === 0 && device.frontend === "ublk") for (const next of opened(table, device)) visit(next);
    device.layers.forEach((layer, parent) => {
      if (!layer.children.includes(index)) return;
      if (remembers(layer.type)) remembering.push(layer);
      visit({ device, index: parent });
    });
  };
  visit(place);
  return { remembering, exports };
}

function nbdUsers({ report }: DeviceView, name: string | null): string[] {
  const clients = report?.exports.find((entry) => entry.name === name)?.clients ?? 0;
  return clients === 0 ? [] : [`export "${name}" has ${clients} client${clients === 1 ? "" : "s"}`];
}

/** Servers of the stack that open a device of it are no users: who uses them is. */
function ublkUsers({ users }: DeviceView, servers: readonly number[]): string[] {
  return users.filter((user) => !servers.some((pid) => user.endsWith(`(process ${pid})`)));
}

/** In words. @param view looked at thoroughly */
export function usersOf({ exports }: Above, view: StackView): string[] {
  const servers = [...view.devices.values()].flatMap(({ serverPid }) => serverPid ?? []);
  const users = exports.flatMap(({ device, name }) => {
    const seen = view.devices.get(device.name);
    if (seen === undefined) return [];
    return device.frontend === "nbd" ? nbdUsers(seen, name) : ublkUsers(seen, servers);
  });
  return [...new Set(users)];
}
