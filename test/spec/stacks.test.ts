import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parseStacks, renderProblems } from "../../src/spec/index.js";

const folder = resolve(import.meta.dirname, "../../stacks");

describe("the examples under stacks/", () => {
  const files = readdirSync(folder).filter((file) => file.endsWith(".yaml"));

  it("are there", () => {
    expect(files).toEqual(expect.arrayContaining(["demo.yaml", "headline.yaml", "layered.yaml"]));
  });

  it.each(files)("%s is valid, short, and known to editors", (file) => {
    const text = readFileSync(join(folder, file), "utf8");
    const { documents, problems } = parseStacks(text, file);
    expect(renderProblems(problems, text, { color: false })).toBe("");
    expect(documents.map(({ spec }) => spec.name)).toEqual([file.replace(".yaml", "")]);
    expect(text.split("\n").length).toBeLessThanOrEqual(30);
    expect(text.split("\n")[0]).toBe("# yaml-language-server: $schema=../schema/stack.v1.schema.json");
  });
});
