/**
 * Random stacks for property tests: valid by construction, small enough to read when one fails.
 *
 *   arbitraryStack()   a StackSpec: one to three trees, now and then a read-only leaf that several parents share,
 *                      exports of all roots and of some layers in the middle, on any frontend
 *   arbitraryTable()   the same, compiled on a host with ublk; arbitraryVariants(): two of the same layers
 *
 * Every size is a multiple of 4 KiB and every leaf holds at least one of the largest chunks, so that no stack is
 * refused: what is tested is what becomes of valid stacks.
 */
import fc from "fast-check";
import { compile, type World } from "../../src/compile/compile.js";
import type { Table } from "../../src/compile/table.js";
import type { ExportSpec, Frontend, LayerSpec, LayerType, StackSpec } from "../../src/spec/stack-spec.js";

const KIB = 1024;

export type Tree =
  | { leaf: LeafChoice }
  | { mapping: MappingChoice; members: Tree[] }
  | { onBase: BaseChoice; base: Tree };

interface LeafChoice {
  type: "file" | "block" | "memory" | "null";
  size: number;
  blockSize: 512 | 4096;
}

interface MappingChoice {
  type: "linear" | "stripe" | "mirror";
  chunk: number;
}

interface BaseChoice {
  type: "partition" | "error";
  /** Of a partition: pages that it leaves out at the beginning, modulo what it can spare. */
  skip: number;
}

/** What every layer holds at least: the largest chunk, so that it can be a member of any stripe. */
const LEAST_PAGES = 16;

const leaf: fc.Arbitrary<Tree> = fc
  .record({
    type: fc.constantFrom<LeafChoice["type"]>("file", "file", "memory", "null", "block"),
    size: fc.integer({ min: LEAST_PAGES, max: 64 }).map((pages) => pages * 4 * KIB),
    blockSize: fc.constantFrom<LeafChoice["blockSize"]>(512, 4096),
  })
  .map((choice) => ({ leaf: choice }));

/** A tree of at most `depth` levels with at most four members each. */
export function arbitraryTree(depth = 4): fc.Arbitrary<Tree> {
  if (depth <= 1) return leaf;
  const mapping: fc.Arbitrary<Tree> = fc.record({
    mapping: fc.record({
      type: fc.constantFrom<MappingChoice["type"]>("linear", "stripe", "mirror"),
      chunk: fc.constantFrom(4, 8, 16, 64).map((k) => k * KIB),
    }),
    members: fc.array(arbitraryTree(depth - 1), { minLength: 1, maxLength: 4 }),
  });
  const onBase: fc.Arbitrary<Tree> = fc.record({
    onBase: fc.record({ type: fc.constantFrom<BaseChoice["type"]>("partition", "error"), skip: fc.nat(64) }),
    base: arbitraryTree(depth - 1),
  });
  return fc.oneof(
    { weight: 2, arbitrary: leaf },
    { weight: 3, arbitrary: mapping },
    { weight: 1, arbitrary: onBase },
  );
}

function membersOf(tree: Tree): Tree[] {
  if ("leaf" in tree) return [];
  return "onBase" in tree ? [tree.base] : tree.members;
}

/** Bytes of the layer that becomes of it: see the layers' own definitions in src/layers. */
function bytesOf(tree: Tree): number {
  if ("leaf" in tree) return tree.leaf.size;
  if ("onBase" in tree) return bytesOf(tree.base) - skipped(tree);
  const sizes = tree.members.map(bytesOf);
  const { type, chunk } = tree.mapping;
  if (type === "linear") return sizes.reduce((sum, size) => sum + size, 0);
  const smallest = Math.min(...sizes);
  return type === "mirror" ? smallest : Math.floor(smallest / chunk) * chunk * sizes.length;
}

function skipped({ onBase, base }: Extract<Tree, { onBase: BaseChoice }>): number {
  if (onBase.type !== "partition") return 0;
  const spare = Math.floor(bytesOf(base) / (4 * KIB)) - LEAST_PAGES;
  return (onBase.skip % (spare + 1)) * 4 * KIB;
}

interface Choices {
  name: string;
  compose: "fused" | "layered";
  trees: Tree[];
  /** A read-only leaf that is a member of a linear beside each of these trees. */
  shared: boolean;
  /** By position among all layers, modulo their number. */
  middles: { pick: number; frontend: Frontend }[];
  rootFrontends: Frontend[];
  readOnlyRoots: boolean[];
}

const frontend = fc.constantFrom<Frontend>("auto", "ublk", "nbd");

/** Small enough for one device in any mode. */
const MAX_NODES = 50;
const nodes = (tree: Tree): number =>
  "leaf" in tree ? 1 : membersOf(tree).reduce((sum, member) => sum + nodes(member), 1);

const choices: fc.Arbitrary<Choices> = fc.record({
  name: fc.constantFrom("demo", "a", "stack-2"),
  compose: fc.constantFrom("fused", "fused", "layered"),
  trees: fc
    .array(arbitraryTree(), { minLength: 1, maxLength: 3 })
    .filter((trees) => trees.reduce((sum, tree) => sum + nodes(tree), 0) <= MAX_NODES),
  shared: fc.boolean(),
  middles: fc.array(fc.record({ pick: fc.nat(40), frontend }), { maxLength: 3 }),
  rootFrontends: fc.array(frontend, { minLength: 3, maxLength: 3 }),
  readOnlyRoots: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
});

/** Any valid stack. */
export function arbitraryStack(): fc.Arbitrary<StackSpec> {
  return choices.map(buildStack);
}

/** A world with and without ublk, in which no media were looked at. */
export function arbitraryWorld(): fc.Arbitrary<World> {
  return fc.record({
    media: fc.constant(new Map()),
    host: fc.record({ ublk: fc.boolean(), cpus: fc.integer({ min: 1, max: 8 }) }),
  });
}

/** Any valid table, of a host with ublk. */
export function arbitraryTable(): fc.Arbitrary<Table> {
  return arbitraryStack().map(compileAny);
}

/** Two tables of the same layers: other exports, other frontends, other cuts. */
export function arbitraryVariants(): fc.Arbitrary<[Table, Table]> {
  return fc.tuple(choices, choices).map(([first, other]) => {
    const { trees, shared } = first;
    return [compileAny(buildStack(first)), compileAny(buildStack({ ...other, trees, shared }))];
  });
}

function compileAny(spec: StackSpec): Table {
  const { table, findings } = compile(spec, { media: new Map(), host: { ublk: true, cpus: 2 } });
  if (table === null) throw new Error(`refused: ${JSON.stringify(findings)}`);
  return table;
}

interface Draft {
  type: LayerType;
  readOnly: boolean;
  options: LayerSpec["options"];
  members: string[];
}

type Add = (draft: (name: string) => Draft) => string;

/** A stack out of choices; exported to build a particular one by hand. Layer N is called lN, on the path lN.img. */
export function buildStack(choice: Choices): StackSpec {
  const drafts = new Map<string, Draft>();
  const add: Add = (draft) => {
    const name = `l${drafts.size}`;
    drafts.set(name, draft(name));
    return name;
  };
  const shared = choice.shared ? add((name) => ({ ...leafDraft(name, SHARED_LEAF), readOnly: true })) : null;
  const roots = choice.trees.map((tree) => {
    const name = grow(tree, add);
    return shared === null ? name : add(() => mappingDraft({ type: "linear", chunk: 0 }, [shared, name]));
  });

  const parents = new Set([...drafts.values()].flatMap((draft) => draft.members));
  const layers = new Map<string, LayerSpec>();
  for (const [name, { type, options, members, readOnly: stated }] of drafts) {
    const readOnly = stated || members.some((member) => layers.get(member)?.readOnly);
    layers.set(name, { name, type, readOnly, options, docPath: ["spec", "layers", name] } as LayerSpec);
  }

  const exports = new Map<string, ExportSpec>();
  const onUblk = new Set<string>();
  const show = (layer: string, wanted: Frontend, readOnly: boolean): void => {
    const name = `e${exports.size}`;
    const taken = wanted !== "nbd" && onUblk.has(layer);
    if (wanted !== "nbd") onUblk.add(layer);
    exports.set(name, {
      name,
      layer,
      frontend: taken ? "nbd" : wanted,
      readOnly: readOnly || parents.has(layer) || layers.get(layer)?.readOnly === true,
      ublk: { queues: null, depth: 128, id: null, poll: "auto" },
      owner: null,
      group: null,
      mode: "0600",
      docPath: ["spec", "exports", name],
    });
  };
  roots.forEach((root, index) => {
    show(root, choice.rootFrontends[index] ?? "auto", choice.readOnlyRoots[index] ?? false);
  });
  const names = [...drafts.keys()];
  for (const middle of choice.middles) {
    show(names[middle.pick % names.length] ?? "l0", middle.frontend, false);
  }
  return {
    name: choice.name,
    compose: choice.compose,
    engine: "auto",
    nbd: { socket: null, tcp: null },
    layers,
    exports,
  };
}

const SHARED_LEAF: LeafChoice = { type: "file", size: 256 * KIB, blockSize: 4096 };

function grow(tree: Tree, add: Add): string {
  if ("leaf" in tree) return add((name) => leafDraft(name, tree.leaf));
  const members = membersOf(tree).map((member) => grow(member, add));
  return add(() => ("onBase" in tree ? baseDraft(tree, members) : mappingDraft(tree.mapping, members)));
}

function leafDraft(name: string, { type, size, blockSize }: LeafChoice): Draft {
  const options = {
    file: {
      path: `${name}.img`,
      size,
      sizeMax: null,
      direct: "auto",
      blockSize,
      create: "ifMissing",
    } as const,
    block: { path: `/dev/${name}`, size, direct: "auto" } as const,
    memory: { size, blockSize },
    null: { size, blockSize },
  };
  return { type, readOnly: false, options: options[type], members: [] };
}

function baseDraft(tree: Extract<Tree, { onBase: BaseChoice }>, members: string[]): Draft {
  const [base = ""] = members;
  const { type } = tree.onBase;
  const options = {
    partition: { base, offset: skipped(tree), size: null },
    error: { base, ...FAULTS },
  };
  return { type, readOnly: false, options: options[type], members };
}

/** Of no consequence where nothing is served. */
const FAULTS = {
  errno: "EIO",
  ops: ["read"],
  start: 0,
  length: null,
  probability: 0.5,
  seed: 1,
  nth: null,
  every: null,
  limit: null,
  up: null,
  down: null,
} as const;

function mappingDraft({ type, chunk }: MappingChoice, members: string[]): Draft {
  return { type, readOnly: false, options: type === "stripe" ? { members, chunk } : { members }, members };
}
