import { describe, expect, it } from "vitest";
import { report, withExports, withLayers } from "./helpers.js";

describe("a mistake in the graph", () => {
  it("member that does not exist", () => {
    expect(
      report(withLayers("a: { linear: { members: [disc] } }", "disk: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:30: error: there is no layer "disc" [unknown-layer]
        |
      6 |     a: { linear: { members: [disc] } }
        |                              ^^^^ expected the name of a layer of this stack
        = did you mean disk?
      "
    `);
  });

  it("member that is like none", () => {
    expect(report(withLayers("a: { linear: { members: [nothing-like-it] } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:30: error: there is no layer "nothing-like-it" [unknown-layer]
        |
      6 |     a: { linear: { members: [nothing-like-it] } }
        |                              ^^^^^^^^^^^^^^^ expected the name of a layer of this stack
      "
    `);
  });

  it("export of a layer that does not exist", () => {
    expect(report(withExports("data: { layer: b }"))).toMatchInlineSnapshot(`
      "
      s.yaml:7:20: error: there is no layer "b" [unknown-layer]
        |
      7 |     data: { layer: b }
        |                    ^ expected the name of a layer of this stack
      "
    `);
  });

  it("exports nothing", () => {
    expect(
      report(
        "apiVersion: ublk-stack/v1\nkind: Stack\nmetadata: { name: s }\nspec: { layers: { a: { null: { size: 1MiB } } }, exports: {} }\n",
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:4:59: error: spec.exports are empty [no-export]
        |
      4 | spec: { layers: { a: { null: { size: 1MiB } } }, exports: {} }
        |                                                           ^^ expected at least one entry
      "
    `);
  });

  it("has no exports", () => {
    expect(
      report(
        "apiVersion: ublk-stack/v1\nkind: Stack\nmetadata: { name: s }\nspec: { layers: { a: { null: { size: 1MiB } } } }\n",
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:4:1: error: spec has no "exports" [no-export]
        |
      4 | spec: { layers: { a: { null: { size: 1MiB } } } }
        | ^^^^ expected the key exports
      "
    `);
  });

  it("member of two layers", () => {
    expect(
      report(
        withLayers(
          "a: { mirror: { members: [b, c] } }",
          "b: { linear: { members: [d] } }",
          "c: { linear: { members: [d] } }",
          "d: { memory: { size: 1MiB } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:8:30: error: layer "d" already is a member of "b" [member-twice]
        |
      8 |     c: { linear: { members: [d] } }
        |                              ^ expected a layer that feeds nothing else, or is readOnly
      "
    `);
  });

  it("member of one layer twice", () => {
    expect(
      report(withLayers("a: { mirror: { members: [b, b] } }", "b: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:33: error: layer "b" is a member of "a" twice [member-twice]
        |
      6 |     a: { mirror: { members: [b, b] } }
        |                                 ^ expected a layer that feeds nothing else, or is readOnly
      "
    `);
  });

  it("layer that contains itself", () => {
    expect(report(withLayers("a: { linear: { members: [a] } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:30: error: layer "a" is its own member: a → a [cycle]
        |
      6 |     a: { linear: { members: [a] } }
        |                              ^ expected a layer that does not contain this one
      "
    `);
  });

  it("cycle of three", () => {
    expect(
      report(
        withLayers(
          "a: { linear: { members: [b] } }",
          "b: { linear: { members: [c] } }",
          "c: { linear: { members: [{ linear: { members: [a] } }] } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:8:52: error: layers contain each other: a → b → c → c.0 → a [cycle]
        |
      8 |     c: { linear: { members: [{ linear: { members: [a] } }] } }
        |                                                    ^ expected a layer that does not contain this one
      "
    `);
  });

  it("two cycles through one layer", () => {
    expect(
      report(
        withLayers(
          "a: { linear: { members: [b, c] } }",
          "b: { linear: { members: [a] } }",
          "c: { linear: { members: [a] } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:30: error: layers contain each other: a → b → a [cycle]
        |
      7 |     b: { linear: { members: [a] } }
        |                              ^ expected a layer that does not contain this one

      s.yaml:8:30: error: layer "a" already is a member of "b" [member-twice]
        |
      8 |     c: { linear: { members: [a] } }
        |                              ^ expected a layer that feeds nothing else, or is readOnly

      s.yaml:8:30: error: layers contain each other: a → c → a [cycle]
        |
      8 |     c: { linear: { members: [a] } }
        |                              ^ expected a layer that does not contain this one
      "
    `);
  });

  it("nine levels and more", () => {
    expect(
      report(
        withLayers(
          "a: { linear: { members: [l1] } }",
          "l1: { linear: { members: [l2] } }",
          "l2: { linear: { members: [l3] } }",
          "l3: { linear: { members: [l4] } }",
          "l4: { linear: { members: [l5] } }",
          "l5: { linear: { members: [l6] } }",
          "l6: { linear: { members: [l7] } }",
          "l7: { linear: { members: [l8] } }",
          "l8: { linear: { members: [l9] } }",
          "l9: { memory: { size: 1MiB } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:5: error: layer "l1" stands 9 levels above its deepest leaf, both counted [too-deep]
        |
      7 |     l1: { linear: { members: [l2] } }
        |     ^^ expected at most 8 levels
      "
    `);
  });

  it("two exports of a layer on ublk", () => {
    expect(
      report(withExports("data: { layer: a }", "again: { layer: a, frontend: ublk }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:8:21: error: layer "a" already is exported as "data" [duplicate-export]
        |
      8 |     again: { layer: a, frontend: ublk }
        |                     ^ expected one export of a layer on ublk
        = hint: with frontend: nbd it can be exported again
      "
    `);
  });

  it("export of a member that asks for writes", () => {
    expect(
      report(
        withLayers("a: { linear: { members: [b] } }", "b: { memory: { size: 1MiB } }").replace(
          "a } }",
          "a }, part: { layer: b, readOnly: false } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:8:62: error: export "part" cannot be written: layer "b" is a member of "a" [export-not-writable]
        |
      8 |   exports: { data: { layer: a }, part: { layer: b, readOnly: false } }
        |                                                              ^^^^^ expected true
      "
    `);
  });

  it("export of a read-only layer that asks for writes", () => {
    expect(
      report(
        withLayers("a: { readOnly: true, memory: { size: 1MiB } }").replace(
          "a } }",
          "a, readOnly: false } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:42: error: export "data" cannot be written: layer "a" is read-only [export-not-writable]
        |
      7 |   exports: { data: { layer: a, readOnly: false } }
        |                                          ^^^^^ expected true
      "
    `);
  });

  it("layer that nothing uses, as a warning", () => {
    expect(
      report(withLayers("a: { memory: { size: 1MiB } }", "b: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:5: warning: layer "b" is neither exported nor a member of another layer [unused-layer]
        |
      7 |     b: { memory: { size: 1MiB } }
        |     ^
        = hint: it is not served
      "
    `);
  });

  it("two stacks of one name", () => {
    expect(
      report(`${withExports("data: { layer: a }")}---\n${withExports("data: { layer: a }")}`),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:11:19: error: another document of this text is called "s" [duplicate-stack]
         |
      11 | metadata: { name: s }
         |                   ^ expected a name of its own for each stack
      "
    `);
  });
});
