/** What must hold between the layers and exports of a document, whatever their types. */

import type { Finding } from "./finding.js";
import type { Graph, GraphExport, GraphWalk, Reference } from "./graph.js";
import { isName, nearestName } from "./names.js";
import { nearest } from "./nearest.js";
import { quote } from "./place.js";
import { MAX_DEPTH } from "./stack-spec.js";

/** Names that are compared with all of so many layers: the cost grows with the square. */
const SUGGEST_NAMES_MAX = 100;
const SUGGEST_LAYERS_MAX = 500;

/**
 * Which layers cannot be written: those that say so, and those that would write to such a member.
 * @returns their names
 */
export function effectivelyReadOnly(walk: GraphWalk): ReadonlySet<string> {
  const readOnly = new Set<string>();
  for (const layer of walk.order) {
    const writes = layer.members.filter(({ onlyReads }) => !onlyReads);
    if (layer.readOnly || writes.some(({ name }) => readOnly.has(name))) readOnly.add(layer.name);
  }
  return readOnly;
}

/** All findings about the graph. Those that a mistake elsewhere would only echo are left out. */
export function checkGraph(graph: Graph, walk: GraphWalk, documentFitsSchema: boolean): Finding[] {
  const readOnly = effectivelyReadOnly(walk);
  const findings = [
    ...checkReferences(graph),
    ...checkUses(graph, walk, readOnly),
    ...checkCycles(walk),
    ...checkDepth(walk),
    ...checkExports(graph, walk, readOnly),
  ];
  // With a name misspelt, the layer that was meant would seem unused.
  return documentFitsSchema && findings.length === 0 ? checkUnused(graph, walk) : findings;
}

function checkReferences(graph: Graph): Finding[] {
  const exported = graph.exports.flatMap(({ layer, docPath }) =>
    layer === null
      ? []
      : [{ reference: { name: layer, docPath: [...docPath, "layer"], onlyReads: false }, user: null }],
  );
  const members = [...graph.layers.values()].flatMap((layer) =>
    layer.members.map((reference) => ({ reference, user: layer.name })),
  );
  // A layer with a bad name is reported; that its corrected name does not exist yet would be an echo.
  const corrected = new Set([...graph.layers.keys()].filter((name) => !isName(name)).map(nearestName));
  return [...members, ...exported]
    .filter(({ reference: { name } }) => isName(name) && !graph.layers.has(name) && !corrected.has(name))
    .map(({ reference, user }, index) =>
      unknownLayer(
        graph,
        reference,
        user,
        index < SUGGEST_NAMES_MAX && graph.layers.size <= SUGGEST_LAYERS_MAX,
      ),
    );
}

function unknownLayer(graph: Graph, reference: Reference, user: string | null, suggest: boolean): Finding {
  const suggestion = suggest
    ? nearest(
        reference.name,
        [...graph.layers.keys()].filter((name) => isName(name) && name !== user),
      )
    : undefined;
  return {
    path: reference.docPath,
    at: "value",
    code: "unknown-layer",
    severity: "error",
    message: `there is no layer ${quote(reference.name)}`,
    expected: "the name of a layer of this stack",
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}

function checkUses(graph: Graph, walk: GraphWalk, readOnly: ReadonlySet<string>): Finding[] {
  return [...graph.layers.values()].flatMap(({ name }) => {
    const uses = walk.uses.get(name) ?? [];
    const [first, ...others] = uses;
    if (first === undefined || readOnly.has(name) || uses.every(({ onlyReads }) => onlyReads)) return [];
    return others.map(
      ({ parent, docPath }): Finding => ({
        path: docPath,
        at: "value",
        code: "member-twice",
        severity: "error",
        message:
          parent === first.parent
            ? `layer ${quote(name)} is a member of ${quote(parent)} twice`
            : `layer ${quote(name)} already is a member of ${quote(first.parent)}`,
        expected: "a layer that feeds nothing else, or is readOnly",
      }),
    );
  });
}

function checkCycles(walk: GraphWalk): Finding[] {
  return walk.cycles.map(({ reference, names }) => ({
    path: reference.docPath,
    at: "value",
    code: "cycle",
    severity: "error",
    message:
      names.length === 1
        ? `layer ${quote(reference.name)} is its own member: ${reference.name} → ${reference.name}`
        : `layers contain each other: ${[...names, reference.name].join(" → ")}`,
    expected: "a layer that does not contain this one",
  }));
}

function checkDepth(walk: GraphWalk): Finding[] {
  const depths = new Map<string, number>();
  const findings: Finding[] = [];
  for (const layer of walk.order) {
    const depth = 1 + Math.max(0, ...layer.members.map(({ name }) => depths.get(name) ?? 0));
    depths.set(layer.name, depth);
    // Only the first that is too deep: those above it follow from it.
    if (depth !== MAX_DEPTH + 1) continue;
    findings.push({
      path: layer.docPath,
      at: "key",
      code: "too-deep",
      severity: "error",
      message: `layer ${quote(layer.name)} stands ${depth} levels above its deepest leaf, both counted`,
      expected: `at most ${MAX_DEPTH} levels`,
    });
  }
  return findings;
}

function checkExports(graph: Graph, walk: GraphWalk, readOnly: ReadonlySet<string>): Finding[] {
  const findings: Finding[] = [];
  const ublkExports = new Map<string, GraphExport>();
  for (const one of graph.exports) {
    if (one.layer === null || !graph.layers.has(one.layer)) continue;
    if (one.readOnly === false) findings.push(...checkWritable(one, one.layer, walk, readOnly));
    if (one.frontend === "nbd") continue;
    const first = ublkExports.get(one.layer);
    if (first === undefined) ublkExports.set(one.layer, one);
    else {
      findings.push({
        path: [...one.docPath, "layer"],
        at: "value",
        code: "duplicate-export",
        severity: "error",
        message: `layer ${quote(one.layer)} already is exported as ${quote(first.name)}`,
        expected: "one export of a layer on ublk",
        hint: "with frontend: nbd it can be exported again",
      });
    }
  }
  return findings;
}

function checkWritable(
  { name, docPath }: GraphExport,
  layer: string,
  walk: GraphWalk,
  readOnly: ReadonlySet<string>,
): Finding[] {
  const [use] = walk.uses.get(layer) ?? [];
  if (use === undefined && !readOnly.has(layer)) return [];
  const reason = use === undefined ? "is read-only" : `is a member of ${quote(use.parent)}`;
  return [
    {
      path: [...docPath, "readOnly"],
      at: "value",
      code: "export-not-writable",
      severity: "error",
      message: `export ${quote(name)} cannot be written: layer ${quote(layer)} ${reason}`,
      expected: "true",
    },
  ];
}

function checkUnused(graph: Graph, walk: GraphWalk): Finding[] {
  const exported = new Set(graph.exports.map(({ layer }) => layer));
  return [...graph.layers.values()]
    .filter(({ name }) => !exported.has(name) && !walk.uses.has(name))
    .map(({ name, docPath }) => ({
      path: docPath,
      at: "key",
      code: "unused-layer",
      severity: "warning",
      message: `layer ${quote(name)} is neither exported nor a member of another layer`,
      hint: "it is not served",
    }));
}
