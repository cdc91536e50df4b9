/** From a valid document with its defaults to the StackSpec that the rest of the program works with. */

import { parseDelay, parseDuration } from "./duration.js";
import type { DocPath } from "./finding.js";
import type { Graph, GraphLayer, GraphWalk } from "./graph.js";
import { effectivelyReadOnly } from "./graph-checks.js";
import { STACK_SCHEMA } from "./schema.gen.js";
import { parseSize } from "./size.js";
import type { Account, Delay, Duration, Export, Size, StackDocument } from "./spec.gen.js";
import type { ExportSpec, LayerSpec, StackSpec } from "./stack-spec.js";

const DEFINITIONS = STACK_SCHEMA.$defs as Readonly<
  Record<string, { readonly properties?: Readonly<Record<string, { readonly $ref?: string }>> }>
>;

/** @param document fits the schema, has its defaults, and its graph has no errors */
export function normalise(document: StackDocument, graph: Graph, walk: GraphWalk): StackSpec {
  const { metadata, spec } = document;
  const nbd = given(spec.nbd);
  const readOnly = effectivelyReadOnly(walk);
  const layers = [...graph.layers.values()].map((layer) =>
    normaliseLayer(layer, valueAt(document, layer.docPath), readOnly.has(layer.name)),
  );
  const exports = Object.entries(spec.exports).map(([name, body]) =>
    normaliseExport(name, body, readOnly.has(body.layer) || walk.uses.has(body.layer)),
  );
  return {
    name: metadata.name,
    compose: given(spec.compose),
    engine: given(spec.engine),
    nbd: { socket: nbd.socket ?? null, tcp: nbd.tcp ?? null },
    layers: new Map(layers.map((layer) => [layer.name, layer])),
    exports: new Map(exports.map((one) => [one.name, one])),
  };
}

/** What the schema has a default for, and validation has therefore filled in. */
function given<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError("the schema lost a default");
  return value;
}

function valueAt(document: StackDocument, path: DocPath): Record<string, unknown> {
  let value: unknown = document;
  for (const step of path) value = (value as Record<string | number, unknown>)[step];
  return value as Record<string, unknown>;
}

/** Follows the layer's schema, so that no layer type is named here. */
function normaliseLayer(layer: GraphLayer, body: Record<string, unknown>, readOnly: boolean): LayerSpec {
  const [type] = layer.types;
  const properties = DEFINITIONS[`${type}Layer`]?.properties;
  if (type === undefined || properties === undefined)
    throw new RangeError(`no schema of layer ${layer.name}`);
  const single = (key: string): string | undefined =>
    layer.members.find(({ docPath }) => docPath.at(-1) === key && docPath.at(-2) === type)?.name;
  const written = body[type] as Record<string, unknown>;
  const options = Object.entries(properties).map(([key, { $ref }]): [string, unknown] => {
    const value = written[key] ?? null;
    if ($ref === "#/$defs/members") return [key, layer.members.map(({ name }) => name)];
    if ($ref === "#/$defs/member") return [key, value === null ? null : single(key)];
    if (value === null) return [key, value];
    if ($ref === "#/$defs/size") return [key, parseSize(value as Size)];
    if ($ref === "#/$defs/offset") return [key, value === 0 ? 0 : parseSize(value as Size)];
    if ($ref === "#/$defs/duration") return [key, parseDuration(value as Duration)];
    if ($ref === "#/$defs/delay") return [key, parseDelay(value as Delay)];
    return [key, value];
  });
  const spec = {
    name: layer.name,
    type,
    readOnly,
    options: Object.fromEntries(options),
    docPath: layer.docPath,
  };
  // The schema that was followed is the one that the types are made from.
  return spec as unknown as LayerSpec;
}

function normaliseExport(name: string, body: Export, mustBeReadOnly: boolean): ExportSpec {
  const ublk = given(body.ublk);
  const account = (who: Account | undefined) => (who === undefined ? null : String(who));
  return {
    name,
    layer: body.layer,
    frontend: given(body.frontend),
    readOnly: mustBeReadOnly || body.readOnly === true,
    ublk: {
      queues: ublk.queues ?? null,
      depth: given(ublk.depth),
      id: ublk.id ?? null,
      poll: given(ublk.poll),
    },
    owner: account(body.owner),
    group: account(body.group),
    mode: given(body.mode).padStart(4, "0"),
    docPath: ["spec", "exports", name],
  };
}
