/** What `set` makes of a document. */
import { describe, expect, it } from "vitest";
import { type StackDocument, withOption } from "../../src/spec/index.js";

const document = {
  apiVersion: "ublk-stack/v1",
  kind: "Stack",
  metadata: { name: "s" },
  spec: {
    layers: {
      disk: { memory: { size: "1MiB" } },
      sick: { error: { base: { error: { base: "disk", seed: 3 } }, probability: 0.5 } },
    },
    exports: { data: { layer: "sick" } },
  },
} as StackDocument;

const sick = (key: string, value: string, layer = "sick") => withOption(document, { layer, key, value });

describe("a changed option", () => {
  it("is as YAML reads it", () => {
    expect(sick("probability", "0.25")).toMatchObject({
      spec: { layers: { sick: { error: { probability: 0.25 } } } },
    });
    expect(sick("ops", "[read, write]")).toMatchObject({
      spec: { layers: { sick: { error: { ops: ["read", "write"], probability: 0.5 } } } },
    });
    expect(sick("up", "10s")).toMatchObject({ spec: { layers: { sick: { error: { up: "10s" } } } } });
  });

  it("can be of a layer written in place, and lie inside of another", () => {
    expect(sick("seed", "4", "sick.0")).toMatchObject({
      spec: { layers: { sick: { error: { base: { error: { seed: 4 } } } } } },
    });
    expect(sick("read.probability", "1")).toMatchObject({
      spec: { layers: { sick: { error: { read: { probability: 1 } } } } },
    });
  });

  it("goes when nothing is given for it, and leaves the document that it was made from alone", () => {
    const copy = structuredClone(document);
    const without = sick("probability", "") as StackDocument;
    expect(without.spec.layers.sick).toEqual({ error: { base: { error: { base: "disk", seed: 3 } } } });
    expect(document).toEqual(copy);
  });

  it("needs a layer, and a value that is YAML", () => {
    expect(sick("seed", "1", "nobody")).toEqual({ subject: "layer" });
    expect(sick("ops", "[read")).toEqual({ subject: "value" });
  });

  it("can be called as the language's own things are", () => {
    const odd = sick("__proto__.polluted", "1");
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect(odd).toHaveProperty("spec");
  });
});
