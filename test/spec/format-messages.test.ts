import { describe, expect, it } from "vitest";
import { report, withLayers } from "./helpers.js";

const disk = (options: string) =>
  report(withLayers(`a: { qcow2: { base: d, ${options} } }`, "d: { file: { path: d.qcow2 } }"));

describe("a mistake in a format", () => {
  it("create in the words of files", () => {
    expect(disk("create: ifMissing")).toMatchInlineSnapshot(`
      "
      s.yaml:6:36: error: create of qcow2 "a" cannot be "ifMissing" [bad-value]
        |
      6 |     a: { qcow2: { base: d, create: ifMissing } }
        |                                    ^^^^^^^^^ expected one of ifBlank, never, always
        = hint: ifMissing is for files; an image is made in a blank one, too: ifBlank
      "
    `);
  });

  it("clusters that are too large", () => {
    expect(disk("clusterSize: 4MiB")).toMatchInlineSnapshot(`
      "
      s.yaml:6:41: error: clusterSize of qcow2 "a" cannot be 4MiB [out-of-range]
        |
      6 |     a: { qcow2: { base: d, clusterSize: 4MiB } }
        |                                         ^^^^ expected at most 2MiB
        = did you mean 2MiB?
      "
    `);
  });

  it("clusters of an odd size", () => {
    expect(disk("clusterSize: 96KiB")).toMatchInlineSnapshot(`
      "
      s.yaml:6:41: error: clusterSize of qcow2 "a" cannot be 96KiB [not-power-of-two]
        |
      6 |     a: { qcow2: { base: d, clusterSize: 96KiB } }
        |                                         ^^^^^ expected a power of two, at least 512
        = did you mean 128KiB?
      "
    `);
  });

  it("refcounts that the format does not have", () => {
    expect(disk("refcountBits: 24")).toMatchInlineSnapshot(`
      "
      s.yaml:6:42: error: refcountBits of qcow2 "a" cannot be 24 [bad-value]
        |
      6 |     a: { qcow2: { base: d, refcountBits: 24 } }
        |                                          ^^ expected one of 1, 2, 4, 8, 16, 32, 64
        = did you mean 2?
      "
    `);
  });

  it("a disk of a part of a sector", () => {
    expect(disk("size: 1000")).toMatchInlineSnapshot(`
      "
      s.yaml:6:34: error: size of qcow2 "a" cannot be 1000 [size-not-multiple]
        |
      6 |     a: { qcow2: { base: d, size: 1000 } }
        |                                  ^^^^ expected a multiple of 512
        = did you mean 1KiB?
      "
    `);
  });

  it("a cache that is too small", () => {
    expect(disk("cache: 64KiB")).toMatchInlineSnapshot(`
      "
      s.yaml:6:35: error: cache of qcow2 "a" cannot be 64KiB [out-of-range]
        |
      6 |     a: { qcow2: { base: d, cache: 64KiB } }
        |                                   ^^^^^ expected at least 1MiB
        = did you mean 1MiB?
      "
    `);
  });

  it("no base", () => {
    expect(report(withLayers("a: { qcow2: { size: 1GiB } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:10: error: qcow2 "a" has no "base" [missing-key]
        |
      6 |     a: { qcow2: { size: 1GiB } }
        |          ^^^^^ expected the key base
      "
    `);
  });

  it("a backing that is not there", () => {
    expect(disk("backing: golden")).toMatchInlineSnapshot(`
      "
      s.yaml:6:37: error: there is no layer "golden" [unknown-layer]
        |
      6 |     a: { qcow2: { base: d, backing: golden } }
        |                                     ^^^^^^ expected the name of a layer of this stack
      "
    `);
  });
});
