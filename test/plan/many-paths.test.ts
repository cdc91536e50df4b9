/** A read-only layer may be shared: few layers then make more paths than anybody can walk, so nothing may walk them. */
import { describe, expect, it } from "vitest";
import { graphOfSpec, graphOfTable } from "../../src/compile/graph.js";
import { graphDot, graphMermaid, graphText } from "../../src/compile/render-graph.js";
import { plan } from "../../src/plan/plan.js";
import type { StackSpec } from "../../src/spec/stack-spec.js";
import { file, linear, readOnly, stack, tableOf } from "../compile/build.js";
import { expectSoundTable } from "../compile/table-rules.js";
import { observed } from "./world.js";

/** Levels of `width` layers, each made of all layers one level below: width ** levels paths. */
function lattice(width: number, levels: number, compose: "fused" | "layered"): StackSpec {
  const parts: Parameters<typeof stack>[0] = { base: readOnly(file(512)) };
  let below = ["base"];
  for (let level = 0; level < levels; level++) {
    const names = Array.from({ length: level === levels - 1 ? 1 : width }, (_, i) => `l${level}-${i}`);
    for (const name of names) parts[name] = linear(...below);
    below = names;
  }
  return stack(parts, { data: below[0] ?? "" }, { compose });
}

const sameMemberOften = (times: number, levels: number): StackSpec => {
  const parts: Parameters<typeof stack>[0] = { l0: readOnly(file(512)) };
  for (let level = 1; level <= levels; level++) {
    parts[`l${level}`] = linear(...Array.from({ length: times }, () => `l${level - 1}`));
  }
  return stack(parts, { data: `l${levels}` });
};

describe("a stack of very many paths", () => {
  it.each([
    ["one member often", sameMemberOften(32, 7)],
    ["every layer in every one above", lattice(6, 7, "fused")],
    ["the same, a device each", lattice(12, 7, "layered")],
  ])("%s", (_, spec) => {
    const table = tableOf(spec);
    expectSoundTable(table);
    const layered = tableOf({ ...spec, compose: "layered" });
    expect(plan(layered, observed(table)).blocked).toEqual([]);
    for (const graph of [graphOfSpec(spec), graphOfTable(table)]) {
      for (const draw of [graphText, graphDot, graphMermaid])
        expect(draw(graph).length).toBeLessThan(200_000);
    }
  });
});
