import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { graphOfSpec, graphOfTable } from "../../src/compile/graph.js";
import { graphDot, graphMermaid, graphText } from "../../src/compile/render-graph.js";
import { arbitraryStack } from "./arbitrary.js";
import { file, linear, MIB, memory, mirror, readOnly, stack, stripe, tableOf } from "./build.js";

const parts = {
  d0: file(MIB),
  d1: file(MIB),
  d2: memory(2 * MIB),
  wide: stripe(65536, "d0", "d1"),
  safe: mirror("wide", "d2"),
};
const spec = stack(parts, { data: "safe", raw: "wide" });
const awkward = stack({ a: file(MIB, { path: 'we"ird <b>\\n#1\n.img' }) }, { data: "a" });

describe("a spec as a graph", () => {
  it("is a tree of text", () => {
    expect(graphText(graphOfSpec(spec))).toMatchInlineSnapshot(`
      "demo
      ├─ data (auto)
      │  └─ safe: mirror
      │     ├─ wide: stripe, chunk 64KiB
      │     │  ├─ d0: file, 1MiB, d0.img
      │     │  └─ d1: file, 1MiB, d1.img
      │     └─ d2: memory, 2MiB
      └─ raw (auto, read-only)
         └─ wide: stripe, chunk 64KiB  (see above)
      "
    `);
  });
  it("shows what is shared once, and what is unused", () => {
    const shared = stack(
      { base: readOnly(linear("x")), x: file(MIB), a: linear("base"), b: linear("base"), spare: file(MIB) },
      { a: "a", b: "b" },
    );
    expect(graphText(graphOfSpec(shared))).toMatchInlineSnapshot(`
      "demo
      ├─ a (auto, read-only)
      │  └─ a: linear, read-only
      │     └─ base: linear, read-only
      │        └─ x: file, 1MiB, x.img
      ├─ b (auto, read-only)
      │  └─ b: linear, read-only
      │     └─ base: linear, read-only  (see above)
      └─ unused
         └─ spare: file, 1MiB, spare.img
      "
    `);
  });
  it("is dot", () => {
    expect(graphDot(graphOfSpec(stack(parts, { data: "safe" })))).toMatchInlineSnapshot(`
      "digraph "demo" {
        rankdir=TB;
        node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=11];
        edge [fontname="sans-serif", fontsize=9];
        "safe" [label="safe\\nmirror"];
        "wide" [label="wide\\nstripe\\nchunk 64KiB"];
        "d0" [label="d0\\nfile\\n1MiB\\nd0.img"];
        "d1" [label="d1\\nfile\\n1MiB\\nd1.img"];
        "d2" [label="d2\\nmemory\\n2MiB"];
        "export data" [label="data (auto)", shape=oval, fillcolor="#dcefdc"];
        "export data" -> "safe";
        "safe" -> "wide" [label="0"];
        "safe" -> "d2" [label="1"];
        "wide" -> "d0" [label="0"];
        "wide" -> "d1" [label="1"];
      }
      "
    `);
  });
  it("is mermaid", () => {
    expect(graphMermaid(graphOfSpec(stack(parts, { data: "safe" })))).toMatchInlineSnapshot(`
      "flowchart TD
        n0["safe<br/>mirror"]
        n1["wide<br/>stripe<br/>chunk 64KiB"]
        n2["d0<br/>file<br/>1MiB<br/>d0.img"]
        n3["d1<br/>file<br/>1MiB<br/>d1.img"]
        n4["d2<br/>memory<br/>2MiB"]
        e0(["data (auto)"]) --> n0
        n0 --> n1
        n0 --> n4
        n1 --> n2
        n1 --> n3
      "
    `);
  });
});

describe("a table as a graph", () => {
  it("names the device of each layer", () => {
    expect(graphText(graphOfTable(tableOf(spec)))).toMatchInlineSnapshot(`
      "demo
      ├─ data (ublk)
      │  └─ safe: mirror, 2MiB  [ublk device safe]
      │     ├─ wide: block, 2MiB, device wide
      │     │  └─ wide: stripe, 2MiB, chunk 64KiB  [ublk device wide]
      │     │     ├─ d0: file, 1MiB, d0.img
      │     │     └─ d1: file, 1MiB, d1.img
      │     └─ d2: memory, 2MiB
      └─ raw (ublk, read-only)
         └─ wide: stripe, 2MiB, chunk 64KiB  [ublk device wide]  (see above)
      "
    `);
  });
  it("draws devices as boxes", () => {
    expect(graphMermaid(graphOfTable(tableOf(spec)))).toMatchInlineSnapshot(`
      "flowchart TD
        subgraph g0["ublk device safe"]
          n0["safe<br/>mirror<br/>2MiB"]
          n1["wide<br/>block<br/>2MiB<br/>device wide"]
          n2["d2<br/>memory<br/>2MiB"]
        end
        subgraph g1["ublk device wide"]
          n3["wide<br/>stripe<br/>2MiB<br/>chunk 64KiB"]
          n4["d0<br/>file<br/>1MiB<br/>d0.img"]
          n5["d1<br/>file<br/>1MiB<br/>d1.img"]
        end
        e0(["data (ublk)"]) --> n0
        e1(["raw (ublk, read-only)"]) --> n3
        n0 --> n1
        n0 --> n2
        n1 --> n3
        n3 --> n4
        n3 --> n5
      "
    `);
  });
});

describe("awkward paths", () => {
  it("do not break out of their labels", () => {
    const graph = graphOfSpec(awkward);
    expect(graphText(graph).split("\n")).toHaveLength(4);
    expect(graphDot(graph)).toMatchInlineSnapshot(`
      "digraph "demo" {
        rankdir=TB;
        node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=11];
        edge [fontname="sans-serif", fontsize=9];
        "a" [label="a\\nfile\\n1MiB\\n\\"we\\\\\\"ird <b>\\\\\\\\n#1\\\\n.img\\""];
        "export data" [label="data (auto)", shape=oval, fillcolor="#dcefdc"];
        "export data" -> "a";
      }
      "
    `);
    expect(graphMermaid(graph)).toMatchInlineSnapshot(`
      "flowchart TD
        n0["a<br/>file<br/>1MiB<br/>#quot;we\\#quot;ird #lt;b#gt;\\\\n#35;1\\n.img#quot;"]
        e0(["data (auto)"]) --> n0
      "
    `);
  });
});

describe("Graphviz", () => {
  it("draws every graph", async () => {
    const { instance } = await import("@viz-js/viz");
    const viz = await instance();
    fc.assert(
      fc.property(arbitraryStack(), (random) => {
        for (const graph of [graphOfSpec(random), graphOfTable(tableOf(random))]) {
          const svg = viz.renderString(graphDot(graph), { format: "svg" });
          for (const node of graph.nodes) expect(svg).toContain(`>${node.name}<`);
        }
      }),
      { numRuns: 10 },
    );
    expect(viz.renderString(graphDot(graphOfSpec(awkward)), { format: "svg" })).toContain("<svg");
  });
});
