/** What the compiler makes of instruments: who is written, sizes, and params for their targets. */
import { describe, expect, it } from "vitest";
import { ANY_WORLD, compile } from "../../src/compile/compile.js";
import type { TableLayer } from "../../src/compile/table.js";
import { parseStacks } from "../../src/spec/index.js";

function compiled(layers: object, exports: object) {
  const text = JSON.stringify({
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name: "s" },
    spec: { layers, exports },
  });
  const { documents, problems } = parseStacks(text, "s.yaml");
  const spec = documents[0]?.spec;
  if (spec === undefined) throw new Error(JSON.stringify(problems));
  return compile(spec, ANY_WORLD);
}

const layersOf = (layers: object, exports: object): TableLayer[] =>
  compiled(layers, exports).table?.devices.flatMap((device) => device.layers) ?? [];

const messagesOf = (layers: object, exports: object) =>
  compiled(layers, exports).findings.map(({ code, path }) => `${code} ${path.join(".")}`);

const memory = (size: string) => ({ memory: { size } });

describe("cow", () => {
  const layers = {
    golden: { file: { path: "golden.img", size: "1MiB" } },
    one: { cow: { base: "golden" } },
    two: { cow: { base: "golden", overlay: memory("1MiB") } },
  };

  it("writes to its overlay and never to its base, which any number may share", () => {
    const table = layersOf(layers, { one: { layer: "one" }, two: { layer: "two" } });
    expect(table.map(({ name, readOnly }) => `${name}${readOnly ? ":ro" : ""}`)).toEqual([
      "one",
      "golden:ro",
      "two",
      "golden:ro",
      "two.1",
    ]);
  });

  it("is writable on a base that is not, and not where its overlay is not", () => {
    const base = { file: { path: "golden.img", size: "1MiB" }, readOnly: true };
    const overlay = { ...memory("1MiB"), readOnly: true };
    const writable = layersOf({ base, a: { cow: { base: "base" } } }, { a: { layer: "a" } });
    expect(writable[0]?.readOnly).toBe(false);
    const not = layersOf({ base, a: { cow: { base: "base", overlay } } }, { a: { layer: "a" } });
    expect(not[0]?.readOnly).toBe(true);
  });

  it("has a base that is not written through an export either", () => {
    const { table } = compiled(layers, { one: { layer: "one" }, raw: { layer: "golden" } });
    const exports = table?.devices.flatMap((device) => device.exports) ?? [];
    expect(exports.find(({ name }) => name === "raw")?.readOnly).toBe(true);
  });

  it("needs an overlay that is large enough, and granules of whole blocks", () => {
    const small = { base: memory("1MiB"), a: { cow: { base: "base", overlay: memory("512KiB") } } };
    expect(messagesOf(small, { a: { layer: "a" } })).toEqual(["size-too-small spec.layers.a.cow.overlay"]);
    const fine = {
      base: { memory: { size: "1MiB", blockSize: 4096 } },
      a: { cow: { base: "base", granule: 512 } },
    };
    expect(messagesOf(fine, { a: { layer: "a" } })).toEqual(["size-not-multiple spec.layers.a.cow.granule"]);
  });
});

describe("logwrites", () => {
  it("asks for flushes whatever its base does, in blocks that its log can take", () => {
    const log = { memory: { size: "1MiB", blockSize: 4096 } };
    const [record] = layersOf({ a: { logwrites: { base: memory("1MiB"), log } } }, { a: { layer: "a" } });
    expect(record?.geometry).toMatchObject({ volatileCache: true, fua: true, logicalBlockBytes: 4096 });
    expect(record?.params).toEqual({ data: "full", record: true });
  });

  it("needs a log that is one place, with room", () => {
    const made = { linear: { members: [memory("1MiB")] } };
    const of = (log: object) =>
      messagesOf({ a: { logwrites: { base: memory("1MiB"), log } } }, { a: { layer: "a" } });
    expect(of(made)).toEqual(["bad-value spec.layers.a.logwrites.log"]);
    expect(of({ memory: { size: 1024 } })).toEqual(["size-too-small spec.layers.a.logwrites.log"]);
  });
});

describe("flakey", () => {
  it("tells its target of every fault by flat names, and nothing of those left out", () => {
    const [a] = layersOf(
      {
        a: {
          flakey: {
            base: memory("1MiB"),
            seed: 7,
            loseFlushes: {},
            corruptReads: {
              probability: 0.5,
              start: "4KiB",
              length: "8KiB",
              up: "1s",
              down: "10ms",
              byte: 3,
            },
          },
        },
      },
      { a: { layer: "a" } },
    );
    expect(a?.params).toEqual({
      seed: 7,
      historyBytes: 16 * 1024 * 1024,
      "loseFlushes.startBytes": 0,
      "loseFlushes.probability": 1,
      "corruptReads.startBytes": 4096,
      "corruptReads.lengthBytes": 8192,
      "corruptReads.probability": 0.5,
      "corruptReads.upNs": 1e9,
      "corruptReads.downNs": 1e7,
      "corruptReads.byte": 3,
    });
  });
});
