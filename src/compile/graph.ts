/** The graph of a stack as a picture-to-be: built from a spec or from a table, drawn by render-graph.ts. */

import { exactBytes, sizeWords, UNBOUNDED_BYTES } from "../layers/bytes.js";
import { kindOf } from "../layers/registry.js";
import { quote } from "../spec/place.js";
import type { StackSpec } from "../spec/stack-spec.js";
import { byName } from "./order.js";
import type { Table, TableLayer } from "./table.js";
import { usageOf } from "./usage.js";

export interface GraphNode {
  /** Unique in the graph. */
  id: string;
  name: string;
  type: string;
  /** Further words: size, path, chunk, read-only. */
  facts: string[];
  /** Ids, in order. */
  children: string[];
  /** The device whose server runs the layer; null in the graph of a spec. */
  device: string | null;
}

export interface GraphExport {
  name: string;
  /** "ublk", "nbd", or "auto" while nobody has decided. */
  frontend: string;
  readOnly: boolean;
  /** The node that it shows. */
  root: string;
}

export interface Graph {
  stack: string;
  exports: GraphExport[];
  /** Parents before children. */
  nodes: GraphNode[];
}

/** A path as it is where that fits a line of text, else in quotes. */
const plain = (path: string): string => (/^[\w./@%+=:,~-]+$/.test(path) ? path : quote(path));

type Params = Readonly<Record<string, string | number | boolean>>;

const paramFacts = (params: Params): string[] =>
  Object.entries(params).flatMap(([key, value]) => {
    if (key === "path") return [plain(String(value))];
    if (key === "device") return [`device ${value}`];
    // Its size says so.
    if (key === "grows") return [];
    if (key.endsWith("Bytes") && typeof value === "number") {
      return [`${key.slice(0, -"Bytes".length)} ${exactBytes(value)}`];
    }
    return value === "auto" ? [] : [`${key} ${value}`];
  });

const facts = (sizeBytes: number | null, params: Params, readOnly: boolean): string[] => [
  ...(sizeBytes === null ? [] : [sizeWords(sizeBytes, params.grows === true)]),
  ...paramFacts(params),
  ...(readOnly ? ["read-only"] : []),
];

/** What the file says: every layer that an export needs, and those that nothing uses. */
export function graphOfSpec(spec: StackSpec): Graph {
  const { used, grows } = usageOf(spec);
  const unused = [...spec.layers.keys()].filter((name) => !used.includes(name));
  const nodes = [...used, ...unused].flatMap((name): GraphNode[] => {
    const layer = spec.layers.get(name);
    if (layer === undefined) return [];
    const kind = kindOf(layer);
    const most = "sizeMax" in layer.options ? layer.options.sizeMax : null;
    const own = "size" in layer.options ? layer.options.size : null;
    const stated = own ?? (grows(name) ? (most ?? UNBOUNDED_BYTES) : null);
    return [
      {
        id: name,
        name,
        type: layer.type,
        facts: facts(stated, kind.params(layer, grows(name)), layer.readOnly),
        children: [...kind.children(layer)],
        device: null,
      },
    ];
  });
  const exports = [...spec.exports.values()].map(
    ({ name, frontend, readOnly, layer }): GraphExport => ({ name, frontend, readOnly, root: layer }),
  );
  return { stack: spec.name, exports, nodes };
}

/** What runs: the layers of each device, and the devices that open each other. */
export function graphOfTable(table: Table): Graph {
  const id = (device: string, layer: string) => `${device}/${layer}`;
  const nodes = [...table.devices].reverse().flatMap((device) =>
    device.layers.map((layer): GraphNode => {
      const below = (child: number) => id(device.name, device.layers[child]?.name ?? "");
      const opened = openedDevice(layer, device.opens);
      return {
        id: id(device.name, layer.name),
        name: layer.name,
        type: layer.type,
        facts: facts(layer.sizeBytes, layer.params, layer.readOnly),
        children: opened === null ? layer.children.map(below) : [id(opened, opened)],
        device: device.name,
      };
    }),
  );
  const exports = table.devices.flatMap((device) =>
    device.exports.flatMap(({ name, readOnly, root }): GraphExport[] => {
      if (name === null) return [];
      const { frontend } = device;
      // Where the layer above writes through a ublk device, its node's mode makes the export read-only.
      const closed = frontend === "ublk" && (Number.parseInt(device.access.mode, 8) & 0o222) === 0;
      const shown = id(device.name, device.layers[root]?.name ?? "");
      return [{ name, frontend, readOnly: readOnly || closed, root: shown }];
    }),
  );
  return { stack: table.stack, exports: exports.sort((a, b) => byName(a.name, b.name)), nodes };
}

function openedDevice(layer: TableLayer, opens: readonly string[]): string | null {
  const { device } = layer.params;
  return typeof device === "string" && opens.includes(device) ? device : null;
}
