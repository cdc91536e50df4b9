/** Text → Spec: the two entrances of this room. */

import { type Finding, hasErrors } from "./finding.js";
import { readGraph, walkGraph } from "./graph.js";
import { checkGraph } from "./graph-checks.js";
import { normalise } from "./normalise.js";
import { quote } from "./place.js";
import { orderProblems, type Problem, toProblems } from "./problem.js";
import { NESTING_MAX, readYaml } from "./read-yaml.js";
import { checkSchema } from "./schema-check.js";
import { type SourceMap, SourceText } from "./source.js";
import type { StackDocument } from "./spec.gen.js";
import type { StackSpec } from "./stack-spec.js";

/** A document without errors. */
export interface ParsedStack {
  /** Plain JSON as written, defaults not filled in: what is sent to the controller. */
  document: StackDocument;
  spec: StackSpec;
  /** Gives the findings of later stages their places in the text. */
  source: SourceMap;
}

export interface ParsedText {
  /** The documents without errors, in order. */
  documents: ParsedStack[];
  /** All mistakes and warnings of all documents, in the order of the text. */
  problems: Problem[];
}

/**
 * Reads every stack of a text. Never throws, whatever the text.
 * @param text YAML 1.2 (or JSON), any number of documents
 * @param file its name as it is shown in problems
 */
export function parseStacks(text: string, file: string): ParsedText {
  const yaml = readYaml(new SourceText(file, text));
  const problems = [...yaml.problems];
  const documents: ParsedStack[] = [];
  const names = new Set<string>();
  for (const { value, source, hasProblems } of yaml.documents) {
    const { spec, document, findings } = checkDocument(value);
    const name = stackName(value);
    if (name !== undefined && names.has(name)) findings.push(duplicateStack(name));
    if (name !== undefined) names.add(name);
    problems.push(...toProblems(findings, source));
    if (spec !== null && document !== null && !hasProblems && !hasErrors(findings)) {
      documents.push({ document, spec, source });
    }
  }
  return { documents, problems: orderProblems(problems) };
}

export interface CheckedDocument {
  /** null if there is an error among the findings. */
  spec: StackSpec | null;
  /** The value that was given, now known to be a stack; null as above. */
  document: StackDocument | null;
  findings: Finding[];
}

/**
 * Checks a document that is JSON already, such as one that the controller was sent. Never throws.
 * @param value any JSON
 */
export function checkDocument(value: unknown): CheckedDocument {
  if (isNestedDeeper(value, NESTING_MAX)) {
    const finding: Finding = {
      path: [],
      at: "value",
      code: "input-too-large",
      severity: "error",
      message: "collections are nested too deeply",
      expected: `at most ${NESTING_MAX} levels`,
    };
    return { spec: null, document: null, findings: [finding] };
  }
  const schema = checkSchema(value);
  const graph = readGraph(value);
  const walk = walkGraph(graph);
  const findings = [...schema.findings, ...checkGraph(graph, walk, schema.document !== null)];
  if (schema.document === null || hasErrors(findings)) return { spec: null, document: null, findings };
  return { spec: normalise(schema.document, graph, walk), document: value as StackDocument, findings };
}

function stackName(value: unknown): string | undefined {
  const name = (value as { metadata?: { name?: unknown } | null } | null)?.metadata?.name;
  return typeof name === "string" ? name : undefined;
}

function duplicateStack(name: string): Finding {
  return {
    path: ["metadata", "name"],
    at: "value",
    code: "duplicate-stack",
    severity: "error",
    message: `another document of this text is called ${quote(name)}`,
    expected: "a name of its own for each stack",
  };
}

/** Level by level and without recursion, so that no depth exhausts the stack. */
function isNestedDeeper(value: unknown, levels: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    level = level.filter((one): one is object => typeof one === "object" && one !== null);
    if (level.length > 0 && depth >= levels) return true;
    level = level.flatMap((one) => Object.values(one as object));
  }
  return false;
}
