import { describe, expect, it } from "vitest";
import { report, withLayers } from "./helpers.js";

const on = (layer: string, ...more: string[]) =>
  report(withLayers(layer, "d: { memory: { size: 1MiB } }", ...more));

describe("a mistake in an instrument that keeps or changes data", () => {
  it("log left out", () => {
    expect(on("a: { logwrites: { base: d } }")).toMatchInlineSnapshot(`
      "
      s.yaml:6:10: error: logwrites "a" has no "log" [missing-key]
        |
      6 |     a: { logwrites: { base: d } }
        |          ^^^^^^^^^ expected the key log
      "
    `);
  });

  it("mark that is taken", () => {
    expect(
      on('a: { logwrites: { base: d, log: l, mark: "ublk-stack:ended" } }', "l: { memory: { size: 1MiB } }"),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:46: error: mark of logwrites "a" cannot be "ublk-stack:ended" [bad-value]
        |
      6 |     a: { logwrites: { base: d, log: l, mark: "ublk-stack:ended" } }
        |                                              ^^^^^^^^^^^^^^^^^^ expected 1 to 479 printable ASCII characters that do not begin with ublk-stack:
      "
    `);
  });

  it("fault that does not exist", () => {
    expect(on("a: { flakey: { base: d, dropReads: {} } }")).toMatchInlineSnapshot(`
      "
      s.yaml:6:29: error: unknown key "dropReads" in flakey "a" [unknown-key]
        |
      6 |     a: { flakey: { base: d, dropReads: {} } }
        |                             ^^^^^^^^^ expected one of base, seed, dropWrites, tornWrites, misdirectWrites, corruptWrites, loseFlushes, misdirectReads, staleReads, corruptReads, history
      "
    `);
  });

  it("probability of a fault beyond 1", () => {
    expect(on("a: { flakey: { base: d, dropWrites: { probability: 7 } } }")).toMatchInlineSnapshot(`
      "
      s.yaml:6:56: error: probability of dropWrites of flakey "a" cannot be 7 [out-of-range]
        |
      6 |     a: { flakey: { base: d, dropWrites: { probability: 7 } } }
        |                                                        ^ expected 0 to 1
      "
    `);
  });

  it("operations of a fault that has its own", () => {
    expect(on("a: { flakey: { base: d, corruptReads: { ops: [write] } } }")).toMatchInlineSnapshot(`
      "
      s.yaml:6:45: error: unknown key "ops" in corruptReads of flakey "a" [unknown-key]
        |
      6 |     a: { flakey: { base: d, corruptReads: { ops: [write] } } }
        |                                             ^^^ expected one of start, length, probability, nth, every, limit, up, down, byte, value
      "
    `);
  });

  it("granule that is no power of two", () => {
    expect(on("a: { cow: { base: d, granule: 3000 } }")).toMatchInlineSnapshot(`
      "
      s.yaml:6:35: error: granule of cow "a" cannot be 3000 [not-power-of-two]
        |
      6 |     a: { cow: { base: d, granule: 3000 } }
        |                                   ^^^^ expected a power of two, at least 512
        = did you mean 4KiB?
      "
    `);
  });

  it("base of a cow that another layer writes to", () => {
    expect(on("a: { cow: { base: d } }", "b: { linear: { members: [d] } }")).toMatchInlineSnapshot(`
      "
      s.yaml:8:30: error: layer "d" already is a member of "a" [member-twice]
        |
      8 |     b: { linear: { members: [d] } }
        |                              ^ expected a layer that feeds nothing else, or is readOnly
      "
    `);
  });

  it("overlay of two", () => {
    expect(
      on(
        "a: { cow: { base: d, overlay: o } }",
        "b: { cow: { base: d, overlay: o } }",
        "o: { memory: { size: 1MiB } }",
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:8:35: error: layer "o" already is a member of "a" [member-twice]
        |
      8 |     b: { cow: { base: d, overlay: o } }
        |                                   ^ expected a layer that feeds nothing else, or is readOnly
      "
    `);
  });
});
