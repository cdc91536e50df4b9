/** How two tables differ, in the words of the table, by names instead of indexes: so that people can read it. */

import type { Device, Table, TableLayer } from "../compile/table.js";
import { exactBytes, sizeWords } from "../layers/bytes.js";

/** One difference. A side that does not have the thing is null. */
export interface Change {
  /** Names from the outside in, with dots: "devices.safe.layers.wide.params.chunkBytes". */
  path: string;
  before: string | null;
  after: string | null;
}

type Named = { readonly [key: string]: Named | string };

const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

function describeValue(key: string, value: unknown): string {
  return typeof value === "number" && key.endsWith("Bytes") ? exactBytes(value) : text(value);
}

const named = (values: object): Named =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, describeValue(key, value)]));

const list = (names: readonly (string | undefined)[]): string => names.map((name) => name ?? "?").join(", ");

function layerWords(device: Device, layer: TableLayer): Named {
  return {
    type: layer.type,
    size: sizeWords(layer.sizeBytes, layer.params.grows === true),
    readOnly: text(layer.readOnly),
    members: list(layer.children.map((child) => device.layers[child]?.name)),
    geometry: named(layer.geometry),
    params: named(layer.params),
  };
}

function deviceWords(device: Device): Named {
  return {
    frontend: device.frontend,
    layers: Object.fromEntries(device.layers.map((layer) => [layer.name, layerWords(device, layer)])),
    exports: Object.fromEntries(
      device.exports.map((entry) => [
        entry.name ?? "(none)",
        { layer: device.layers[entry.root]?.name ?? "?", readOnly: text(entry.readOnly) },
      ]),
    ),
    ublk: device.ublk === null ? {} : named(device.ublk),
    nbd: device.nbd === null ? {} : named(device.nbd),
    access: named(device.access),
    opens: list(device.opens),
  };
}

function tableWords(table: Table): Named {
  return {
    compose: table.compose,
    devices: Object.fromEntries(table.devices.map((device) => [device.name, deviceWords(device)])),
  };
}

/** A thing that comes or goes is one change, told by its most telling word. */
function summary(value: Named | string): string {
  if (typeof value === "string") return value;
  const { type, size, frontend, layer } = value;
  const words = [frontend ?? type, size, layer].filter((word) => typeof word === "string");
  return words.length > 0 ? words.join(" ") : "present";
}

function compare(
  path: string,
  before: Named | string | undefined,
  after: Named | string | undefined,
): Change[] {
  if (
    before === undefined ||
    after === undefined ||
    typeof before === "string" ||
    typeof after === "string"
  ) {
    if (before === after) return [];
    const side = (value: Named | string | undefined) => (value === undefined ? null : summary(value));
    return [{ path, before: side(before), after: side(after) }];
  }
  const keys = [...Object.keys(before), ...Object.keys(after).filter((key) => !Object.hasOwn(before, key))];
  const own = (value: Named, key: string) => (Object.hasOwn(value, key) ? value[key] : undefined);
  return keys.flatMap((key) =>
    compare(path === "" ? key : `${path}.${key}`, own(before, key), own(after, key)),
  );
}

/** Every difference of two devices; empty exactly when they are equal. */
export function diffDevices(before: Device, after: Device): Change[] {
  const changes = compare("", deviceWords(before), deviceWords(after));
  if (changes.length > 0 || before.name === after.name) return changes;
  return [{ path: "name", before: before.name, after: after.name }];
}

/** Every difference of two tables, where null is a stack that is not there. */
export function diffTables(before: Table | null, after: Table | null): Change[] {
  if (before === null || after === null) {
    if (before === after) return [];
    const side = (table: Table | null) =>
      table === null ? null : list(table.devices.map((device) => device.name));
    return [{ path: "devices", before: side(before), after: side(after) }];
  }
  return compare("", tableWords(before), tableWords(after));
}
