/**
 * The graph of a document as it was written, mistakes included: layers written in place are lifted to PARENT.INDEX,
 * and whatever has not the shape of a layer, member or export is left out, for the schema has complained about it.
 */

import type { DocPath } from "./finding.js";
import { STACK_SCHEMA } from "./schema.gen.js";

export interface Reference {
  /** The name that is referred to; a layer of this name need not exist. */
  readonly name: string;
  /** Where it says so. */
  readonly docPath: DocPath;
  /** Whether the layer that refers only reads, whatever is written to it. */
  readonly onlyReads: boolean;
}

export interface GraphLayer {
  readonly name: string;
  readonly docPath: DocPath;
  /** The layer's type keys: one, in a valid document. */
  readonly types: readonly string[];
  readonly members: readonly Reference[];
  /** As written; see effectivelyReadOnly() in graph-checks for what holds. */
  readonly readOnly: boolean;
}

export interface GraphExport {
  readonly name: string;
  readonly docPath: DocPath;
  readonly layer: string | null;
  readonly frontend: string;
  /** null: not said. */
  readonly readOnly: boolean | null;
}

export interface Graph {
  /** In the order of the file; a layer written in place follows its parent. */
  readonly layers: ReadonlyMap<string, GraphLayer>;
  readonly exports: readonly GraphExport[];
}

type Mapping = Readonly<Record<string, unknown>>;

function entriesOf(value: unknown): [string, unknown][] {
  return isMapping(value) ? Object.entries(value) : [];
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param value plain JSON, not nested deeper than NESTING_MAX */
export function readGraph(value: unknown): Graph {
  const spec = isMapping(value) && isMapping(value.spec) ? value.spec : {};
  const layers = new Map<string, GraphLayer>();
  for (const [name, body] of entriesOf(spec.layers)) {
    addLayer(layers, name, ["spec", "layers", name], body);
  }
  const exports = entriesOf(spec.exports)
    .filter((entry): entry is [string, Mapping] => isMapping(entry[1]))
    .map(([name, body]) => ({
      name,
      docPath: ["spec", "exports", name],
      layer: typeof body.layer === "string" ? body.layer : null,
      frontend: typeof body.frontend === "string" ? body.frontend : "auto",
      readOnly: typeof body.readOnly === "boolean" ? body.readOnly : null,
    }));
  return { layers, exports };
}

/** Options that name one layer, in the order in which the layers are members. */
export const SINGLE_MEMBERS = ["base", "overlay", "log", "backing", "dataFile"] as const;

const DEFINITIONS = STACK_SCHEMA.$defs as Readonly<
  Record<string, { readonly properties?: Readonly<Record<string, { readonly "x-access"?: string }>> }>
>;

/** What the schema says of that option of a type; a type that does not exist writes. */
function onlyReads(type: string, option: string): boolean {
  const name = `${type}Layer`;
  const definition = Object.hasOwn(DEFINITIONS, name) ? DEFINITIONS[name] : undefined;
  return definition?.properties?.[option]?.["x-access"] === "read";
}

function membersOf(options: Mapping): { readonly member: unknown; readonly path: DocPath }[] {
  const { members } = options;
  const listed = Array.isArray(members) ? members : [];
  return [
    ...listed.map((member: unknown, index) => ({ member, path: ["members", index] })),
    ...SINGLE_MEMBERS.filter((key) => options[key] !== undefined).map((key) => ({
      member: options[key],
      path: [key],
    })),
  ];
}

function addLayer(layers: Map<string, GraphLayer>, name: string, docPath: DocPath, body: unknown): void {
  const types = entriesOf(body).filter(([key]) => key !== "readOnly");
  const members: Reference[] = [];
  const inPlace: { name: string; docPath: DocPath; body: unknown }[] = [];
  for (const [type, options] of types) {
    if (!isMapping(options)) continue;
    for (const [index, { member, path }] of membersOf(options).entries()) {
      const memberPath = [...docPath, type, ...path];
      const place = { docPath: memberPath, onlyReads: onlyReads(type, String(path[0])) };
      if (typeof member === "string") members.push({ name: member, ...place });
      else if (isMapping(member)) {
        const lifted = `${name}.${index}`;
        members.push({ name: lifted, ...place });
        inPlace.push({ name: lifted, docPath: memberPath, body: member });
      }
    }
  }
  layers.set(name, {
    name,
    docPath,
    types: types.map(([type]) => type),
    members,
    readOnly: isMapping(body) && body.readOnly === true,
  });
  for (const child of inPlace) addLayer(layers, child.name, child.docPath, child.body);
}

/** A layer's place as one of another's members. */
export interface Use {
  readonly parent: string;
  readonly docPath: DocPath;
  readonly onlyReads: boolean;
}

export interface GraphWalk {
  /** Every layer after its members, cycles apart. */
  readonly order: readonly GraphLayer[];
  /** References that close a cycle, each with the names from the layer it leads back to down to the one it is in. */
  readonly cycles: readonly { readonly reference: Reference; readonly names: readonly string[] }[];
  /** By layer name; a layer that is no member is not in it. */
  readonly uses: ReadonlyMap<string, readonly Use[]>;
}

/** Names of a cycle that are kept: enough to understand it, and no quadratic cost for a hostile one. */
const CYCLE_NAMES_MAX = 16;

/** Walks the graph depth first, without recursion: a chain of members may be as long as the file. */
export function walkGraph({ layers }: Graph): GraphWalk {
  const order: GraphLayer[] = [];
  const cycles: { reference: Reference; names: string[] }[] = [];
  const uses = new Map<string, Use[]>();
  const done = new Set<string>();
  /** Layers on the way from the start to where we are, with their place on it. */
  const depths = new Map<string, number>();
  for (const start of layers.values()) {
    if (done.has(start.name)) continue;
    const way: { layer: GraphLayer; next: number }[] = [{ layer: start, next: 0 }];
    depths.set(start.name, 0);
    for (let step = way.at(-1); step !== undefined; step = way.at(-1)) {
      const reference = step.layer.members[step.next];
      step.next += 1;
      if (reference === undefined) {
        way.pop();
        depths.delete(step.layer.name);
        done.add(step.layer.name);
        order.push(step.layer);
        continue;
      }
      const member = layers.get(reference.name);
      if (member === undefined) continue;
      const known = uses.get(member.name) ?? [];
      known.push({ parent: step.layer.name, docPath: reference.docPath, onlyReads: reference.onlyReads });
      uses.set(member.name, known);
      const depth = depths.get(member.name);
      if (depth !== undefined) {
        const names = way.slice(depth, depth + CYCLE_NAMES_MAX).map(({ layer }) => layer.name);
        cycles.push({ reference, names: way.length - depth > CYCLE_NAMES_MAX ? [...names, "…"] : names });
      } else if (!done.has(member.name)) {
        depths.set(member.name, way.length);
        way.push({ layer: member, next: 0 });
      }
    }
  }
  return { order, cycles, uses };
}
