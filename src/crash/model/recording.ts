/**
 * From the user's document to the stacks that a recording needs. The user's own files stay untouched: every leaf that
 * can be written becomes a private file, filled with a copy of what is there.
 *
 *   plain      the export over the private leaves                      the preparation runs against it
 *   beneath    only the recorded layer, to read                        what the disk held before
 *   recorded   plain, with a logwrites layer in the place of the recorded one, over it     the workload
 *   above      the export over a file in the place of the recorded layer                   the check
 */

import { StackError } from "../../errors.js";
import { kindOfType } from "../../layers/registry.js";
import { type Graph, type GraphLayer, readGraph, SINGLE_MEMBERS } from "../../spec/graph.js";
import type { StackDocument } from "../../spec/index.js";

type Body = Readonly<Record<string, unknown>>;

export interface PrivateLeaf {
  readonly name: string;
  /** As written; null for a layer in memory. */
  readonly path: string | null;
}

export interface RecordingPlan {
  readonly exportName: string;
  /** Name of the recorded layer in the specs below. */
  readonly layer: string;
  /** Whether the export shows the recorded layer itself. */
  readonly direct: boolean;
  readonly leaves: readonly PrivateLeaf[];
  readonly plain: (places: ReadonlyMap<string, string>) => Body;
  readonly beneath: (places: ReadonlyMap<string, string>) => Body;
  readonly recorded: (places: ReadonlyMap<string, string>, log: { path: string; sizeBytes: number }) => Body;
  readonly above: (path: string, sizeBytes: number) => Body;
}

/** The one export of `beneath`. */
export const BENEATH_EXPORT = "disk";

function refuse(message: string): never {
  throw new StackError("not-recordable", message);
}

/** Names of layers written in place have a dot, which the name of a layer of its own must not have. */
const flatName = (name: string) => name.replaceAll(".", "-");

function valueAt(document: StackDocument, path: readonly (string | number)[]): Body {
  let value: unknown = document;
  for (const step of path) value = (value as Record<string | number, unknown>)[step];
  return value as Body;
}

/** The layer with its members by name. */
function flatBody(document: StackDocument, layer: GraphLayer): Body {
  const body = valueAt(document, layer.docPath);
  const type = typeOf(layer);
  const options: Record<string, unknown> = { ...(body[type] as Body) };
  if (options.members !== undefined) {
    const listed = layer.members.filter(
      ({ docPath }) => !SINGLE_MEMBERS.some((key) => docPath.at(-1) === key),
    );
    options.members = listed.map(({ name }) => flatName(name));
  }
  for (const key of SINGLE_MEMBERS) {
    const single = layer.members.find(({ docPath }) => docPath.at(-1) === key && docPath.at(-2) === type);
    if (single !== undefined) options[key] = flatName(single.name);
  }
  return { ...body, [type]: options };
}

function typeOf(layer: GraphLayer): string {
  const [type] = layer.types;
  if (type === undefined) throw new RangeError(`layer ${layer.name} has no type`);
  return type;
}

/** A layer and all below it. */
function below(graph: Graph, name: string, found = new Set<string>()): Set<string> {
  found.add(name);
  for (const member of graph.layers.get(name)?.members ?? []) below(graph, member.name, found);
  return found;
}

function chooseExport(
  graph: Graph,
  wanted: string | undefined,
): { exportName: string; root: string; layer: string } {
  const writable = graph.exports.filter(({ layer }) => layer !== null);
  if (wanted === undefined) {
    const [only, second] = writable;
    if (only?.layer == null || second !== undefined) {
      refuse(`the stack has ${writable.length} exports; say with --layer which layer is to be recorded`);
    }
    return { exportName: only.name, root: only.layer, layer: only.layer };
  }
  if (!graph.layers.has(wanted)) {
    refuse(`the stack has no layer "${wanted}"; it has ${[...graph.layers.keys()].join(", ")}`);
  }
  const shows = writable.filter(({ layer }) => below(graph, layer ?? "").has(wanted));
  const chosen = shows.find(({ layer }) => layer === wanted) ?? shows[0];
  if (chosen?.layer == null) refuse(`no export shows layer "${wanted}"`);
  return { exportName: chosen.name, root: chosen.layer, layer: wanted };
}

/** Leaves that must become private; refuses those that can neither be copied nor be left alone. */
function privateLeaves(document: StackDocument, graph: Graph, names: Iterable<string>): PrivateLeaf[] {
  const leaves: PrivateLeaf[] = [];
  for (const name of names) {
    const layer = graph.layers.get(name);
    if (layer === undefined || layer.members.length > 0 || layer.readOnly) continue;
    const { path } = valueAt(document, layer.docPath)[typeOf(layer)] as { path?: string };
    if (kindOfType(typeOf(layer)).creatable) leaves.push({ name: flatName(name), path: path ?? null });
    else if (path !== undefined) {
      refuse(
        `layer "${name}" would write to ${path}; make it readOnly below a layer that takes the writes, or use a file`,
      );
    }
  }
  return leaves;
}

/**
 * @param document valid, as the user wrote it
 * @param wanted name of the layer whose writes are recorded; undefined: that of the only export
 * @throws StackError not-recordable
 */
export function planRecording(document: StackDocument, wanted: string | undefined): RecordingPlan {
  const graph = readGraph(document);
  const { exportName, root, layer } = chooseExport(graph, wanted);
  const inside = below(graph, layer);
  const outside = [...below(graph, root)].filter((name) => !inside.has(name));
  const beside = privateLeaves(document, graph, outside);
  if (beside[0] !== undefined) {
    refuse(
      `the export writes to "${beside[0].name}" too, which is not below "${layer}": what it held at the crash is not known`,
    );
  }
  const leaves = privateLeaves(document, graph, inside);
  const flat = flatName(layer);
  const bodies = (names: Iterable<string>) =>
    Object.fromEntries(
      [...names].map((name) => [flatName(name), flatBody(document, graph.layers.get(name) as GraphLayer)]),
    );
  const withPlaces = (names: Iterable<string>, places: ReadonlyMap<string, string>): Record<string, Body> => {
    const layers: Record<string, Body> = bodies(names);
    for (const { name } of leaves) {
      const body = layers[name];
      if (body === undefined) continue;
      const [options] = Object.values(body).filter((value) => typeof value === "object") as Body[];
      const { size, sizeMax, blockSize, direct } = options ?? {};
      const path = places.get(name);
      layers[name] = {
        file: {
          path,
          ...(size === undefined ? {} : { size }),
          ...(sizeMax === undefined ? {} : { sizeMax }),
          ...(blockSize === undefined ? {} : { blockSize }),
          ...(direct === undefined ? {} : { direct }),
        },
      };
    }
    return layers;
  };
  const { compose, engine, exports } = document.spec;
  const chosen = exports[exportName] as unknown as Body;
  const { id: _id, ...ublk } = (chosen.ublk ?? {}) as { id?: number };
  const spec = (layers: Record<string, Body>): Body => ({
    ...(compose === undefined ? {} : { compose }),
    ...(engine === undefined ? {} : { engine }),
    layers,
    exports: { [exportName]: { ...chosen, layer: flatName(root), ublk } },
  });
  const all = [...inside, ...outside];
  return {
    exportName,
    layer: flat,
    direct: root === layer,
    leaves,
    plain: (places) => spec(withPlaces(all, places)),
    beneath: (places) => ({
      layers: withPlaces(inside, places),
      exports: { [BENEATH_EXPORT]: { layer: flat, frontend: "nbd", readOnly: true } },
    }),
    recorded: (places, { path, sizeBytes: size }) => {
      const { [flat]: recorded, ...others } = withPlaces(all, places);
      const [disk, log] = [`${flat}-disk`, `${flat}-log`];
      return spec({
        ...others,
        [disk]: recorded as Body,
        [log]: { file: { path, size } },
        [flat]: { logwrites: { base: disk, log } },
      });
    },
    above: (path, size) => ({
      ...spec({ ...bodies(outside), [flat]: { file: { path, size } } }),
      compose: "fused",
      exports: { [exportName]: { layer: flatName(root), frontend: "nbd" } },
    }),
  };
}
