/** Whatever the text or value: problems, never an exception, and places that are inside the text. */

import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkDocument, parseStacks, renderProblems } from "../../src/spec/index.js";

const folder = resolve(import.meta.dirname, "../../stacks");
const examples = readdirSync(folder)
  .filter((file) => file.endsWith(".yaml"))
  .map((file) => readFileSync(join(folder, file), "utf8"));

function holds(text: string): void {
  const { documents, problems } = parseStacks(text, "s.yaml");
  const lines = text.split("\n");
  if (documents.length === 0) expect(problems.length).toBeGreaterThan(0);
  const outside = problems.filter(({ line, column, length }) => {
    const letters = [...(lines[line - 1] ?? "")].length;
    return line < 1 || line > lines.length || column < 1 || length < 1 || column + length > letters + 2;
  });
  expect(outside).toEqual([]);
  const rendered = renderProblems(problems, text, { color: false });
  expect(rendered).not.toMatch(/[^\P{Cc}\n]/u);
}

const words = [
  "apiVersion: ublk-stack/v1\n",
  "spec:",
  "layers:",
  "exports:",
  "members: [a, b]",
  "&a ",
  "*a ",
  "!!str ",
  "<<: ",
  "---\n",
  "...\n",
  "%YAML 1.2\n",
  "? ",
  ": ",
  "- ",
  "{",
  "}",
  "[",
  "]",
  ",",
  "'",
  '"',
  "|\n",
  ">-\n",
  "\t",
  "\n",
  "\n  ",
  "\r",
  "\uFEFF",
  "#",
  "__proto__: 1\n",
  "大",
  "\u{1f600}",
  "null",
  "0x",
  "1e999",
];

/** A text with some runs replaced by YAML's own words, by text of anybody, or by other runs of it. */
const mutated = fc
  .tuple(
    fc.constantFrom(...examples),
    fc.array(
      fc.tuple(
        fc.nat(1000),
        fc.nat(12),
        fc.oneof(fc.constantFrom(...words), fc.string({ unit: "grapheme", maxLength: 6 }), fc.nat(1000)),
      ),
      { minLength: 1, maxLength: 6 },
    ),
  )
  .map(([text, edits]) =>
    edits.reduce((current, [at, length, insert]) => {
      const start = at % (current.length + 1);
      const inserted = typeof insert === "number" ? current.slice(insert, insert + 20) : insert;
      return current.slice(0, start) + inserted + current.slice(start + length);
    }, text),
  );

const numRuns = 200;

describe("hostile input only makes problems:", () => {
  it("any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 200 }), holds), { numRuns });
  });

  it("any sequence of YAML's own words", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...words), { maxLength: 40 }).map((some) => some.join("")),
        holds,
      ),
      { numRuns },
    );
  });

  it("valid stacks with damage", () => {
    fc.assert(fc.property(mutated, holds), { numRuns });
  });

  it("any JSON, as text and as a value", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        holds(text);
        const { spec, findings } = checkDocument(JSON.parse(text));
        expect(spec).toBeNull();
        expect(findings.length).toBeGreaterThan(0);
      }),
      { numRuns },
    );
  });

  it("stacks in which any value is replaced by any JSON", () => {
    const places = [
      "metadata",
      "spec",
      "layers",
      "a",
      "stripe",
      "members",
      "exports",
      "data",
      "ublk",
    ] as const;
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue({ maxDepth: 3 }), (place, value) => {
        const document = {
          apiVersion: "ublk-stack/v1",
          kind: "Stack",
          metadata: { name: "s" },
          spec: {
            layers: { a: { stripe: { members: [{ memory: { size: 65536 } }] } } },
            exports: { data: { layer: "a", ublk: { depth: 1 } } },
          },
        };
        // Once: the value may have a key of that name, too.
        let replaced = false;
        const text = JSON.stringify(document, (key, one) => {
          if (replaced || key !== place) return one;
          replaced = true;
          return value;
        });
        const before = JSON.parse(text);
        const after = JSON.parse(text);
        const { spec, findings } = checkDocument(after);
        expect(after).toEqual(before);
        if (spec === null) expect(findings.some(({ severity }) => severity === "error")).toBe(true);
        holds(text);
      }),
      { numRuns },
    );
  });

  const large: [string, string][] = [
    ["brackets", "[".repeat(2 ** 20)],
    ["list marks", "- ".repeat(2 ** 19)],
    ["explicit keys", "? ".repeat(2 ** 19)],
    ["mappings in each other", "{a: ".repeat(2 ** 18)],
    [
      "keys below each other",
      Array.from({ length: 1400 }, (_, depth) => `${" ".repeat(depth)}a:\n`).join(""),
    ],
    ["anchors", "&a ".repeat(20_000)],
    ["keys of one name", "a: &a x\n".repeat(10_000)],
    ["aliases to nothing", "- *a\n".repeat(20_000)],
    [
      "a chain of aliases",
      `- &a0 [x]\n${Array.from({ length: 5000 }, (_, n) => `- &a${n + 1} [*a${n}]\n`).join("")}`,
    ],
    ["documents", "---\na: 1\n".repeat(1000)],
    ["list items", `[${"a,".repeat(100_000)}]`],
    [
      "layers in a chain",
      `spec:\n  layers:\n${Array.from({ length: 2000 }, (_, n) => `    l${n}: { linear: { members: [l${n + 1}] } }\n`).join("")}`,
    ],
    [
      "layers in a ring of rings",
      `spec:\n  layers:\n${Array.from({ length: 1000 }, (_, n) => `    l${n}: { linear: { members: [l${(n + 1) % 1000}, l${(n * 7) % 1000}, l0] } }\n`).join("")}`,
    ],
    [
      "names that do not exist",
      `spec:\n  layers:\n${Array.from({ length: 1000 }, (_, n) => `    l${n}: { linear: { members: [m${n}] } }\n`).join("")}`,
    ],
    ["keys of one name on one line", `{${"a: 1, ".repeat(20_000)}}`],
    ["unknown keys", Array.from({ length: 4000 }, (_, n) => `key-${n}: 1\n`).join("")],
  ];

  it.each(large)("%s without end", (_, text) => {
    holds(text);
  });

  it("JSON that is nested without end", () => {
    let value: unknown = {};
    for (let depth = 0; depth < 100_000; depth++) value = [value];
    expect(checkDocument(value).findings.map(({ code }) => code)).toEqual(["input-too-large"]);
  });
});
