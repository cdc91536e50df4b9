import { parseStacks, renderProblems } from "../../src/spec/index.js";

/** All problems of a text as a user without colours sees them, file name s.yaml. */
export function report(text: string): string {
  return `\n${renderProblems(parseStacks(text, "s.yaml").problems, text, { color: false })}\n`;
}

const HEAD = "apiVersion: ublk-stack/v1\nkind: Stack\nmetadata: { name: s }\nspec:\n";

/** A stack with these lines under spec.layers, which exports the layer `a`. */
export function withLayers(...lines: string[]): string {
  return `${HEAD}  layers:\n${lines.map((line) => `    ${line}\n`).join("")}  exports: { data: { layer: a } }\n`;
}

/** A stack with the layer `a` and these lines under spec.exports. */
export function withExports(...lines: string[]): string {
  const layers = "  layers: { a: { memory: { size: 1MiB } } }\n";
  return `${HEAD}${layers}  exports:\n${lines.map((line) => `    ${line}\n`).join("")}`;
}

/** A stack with these lines under spec, besides a layer `a` and its export. */
export function withSpec(...lines: string[]): string {
  return `${withExports("data: { layer: a }")}${lines.map((line) => `  ${line}\n`).join("")}`;
}
