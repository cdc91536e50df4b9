/** One option of one layer of a document, changed as if the file had said so. Pure. */

import { readGraph } from "./graph.js";
import { readYaml } from "./read-yaml.js";
import { SourceText } from "./source.js";
import type { StackDocument } from "./spec.gen.js";

export interface OptionChange {
  /** Name of a layer, PARENT.INDEX for one written in place. */
  readonly layer: string;
  /** Name of the option, with dots into it: "dropWrites.probability". */
  readonly key: string;
  /** The value as YAML; empty: as if the option were left out. */
  readonly value: string;
}

/** Why a change makes no sense, whatever the schema says. */
export interface NoOption {
  readonly subject: "layer" | "value";
}

type Mapping = Record<string, unknown>;

/** @returns the document with the change, not yet checked, or what of the change is not there */
export function withOption(document: StackDocument, change: OptionChange): StackDocument | NoOption {
  const layer = readGraph(document).layers.get(change.layer);
  const [type] = layer?.types ?? [];
  if (layer === undefined || type === undefined) return { subject: "layer" };
  const value = plainValue(change.value);
  if (value === undefined) return { subject: "value" };

  const edited = structuredClone(document);
  let place: unknown = edited;
  for (const step of layer.docPath) place = (place as Mapping)[step];
  const steps = [type, ...change.key.split(".")];
  const last = steps.pop() as string;
  for (const step of steps) {
    const inner = own(place as Mapping, step);
    const isMapping = typeof inner === "object" && inner !== null && !Array.isArray(inner);
    place = isMapping ? inner : give(place as Mapping, step, {});
  }
  if (value === null) delete (place as Mapping)[last];
  else give(place as Mapping, last, value);
  return edited;
}

const own = (mapping: Mapping, key: string): unknown =>
  Object.hasOwn(mapping, key) ? mapping[key] : undefined;

/** As its own, whatever the language means by that name. */
function give(mapping: Mapping, key: string, value: unknown): unknown {
  Object.defineProperty(mapping, key, { value, enumerable: true, configurable: true, writable: true });
  return value;
}

/** null: nothing; undefined: no YAML. */
function plainValue(text: string): unknown {
  if (text.trim() === "") return null;
  const { documents, problems } = readYaml(new SourceText("value", text));
  return problems.length > 0 || documents.length !== 1 ? undefined : documents[0]?.value;
}
