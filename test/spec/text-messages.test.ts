import { describe, expect, it } from "vitest";
import { report, withLayers } from "./helpers.js";

describe("a mistake in the text", () => {
  it("tab as indentation", () => {
    expect(report("spec:\n\tlayers: 1\n")).toMatchInlineSnapshot(`
      "
      s.yaml:2:1: error: a tab indents this line [yaml-syntax]
        |
      2 |   layers: 1
        | ^^ expected spaces
      "
    `);
  });

  it("unclosed bracket", () => {
    expect(report("a: [1, 2\nb: 3\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:4: error: this is not closed [yaml-syntax]
        |
      1 | a: [1, 2
        |    ^ expected ]
      "
    `);
  });

  it("unclosed quote", () => {
    expect(report("a: 'x\nb: 1\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:4: error: this is not closed [yaml-syntax]
        |
      1 | a: 'x
        |    ^ expected '
      "
    `);
  });

  it("two keys on a line", () => {
    expect(report("a: b: c\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:4: error: a second ': ' on one line [yaml-syntax]
        |
      1 | a: b: c
        |    ^ expected one key and its value, or a mapping in { }
        = hint: text that holds ': ' needs quotes
      "
    `);
  });

  it("reserved character", () => {
    expect(report("a: @x\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:4: error: a plain value cannot start with this character [yaml-syntax]
        |
      1 | a: @x
        |    ^ expected the value in quotes
      "
    `);
  });

  it("bad indentation", () => {
    expect(report("a:\n  - b\n c: 1\n")).toMatchInlineSnapshot(`
      "
      s.yaml:3:2: error: this line is not indented like its neighbours [yaml-syntax]
        |
      3 |  c: 1
        |  ^^^^ expected the column of the other keys or items
      "
    `);
  });

  it("text after a list", () => {
    expect(report("- a\nb: 1\n")).toMatchInlineSnapshot(`
      "
      s.yaml:2:1: error: this cannot stand here [yaml-syntax]
        |
      2 | b: 1
        | ^
        = hint: the parser says: unexpected scalar at node end
      "
    `);
  });

  it("several syntax errors, each line once", () => {
    expect(report("a: @x\nb: `y\nc: d: e: f\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:4: error: a plain value cannot start with this character [yaml-syntax]
        |
      1 | a: @x
        |    ^ expected the value in quotes

      s.yaml:2:4: error: a plain value cannot start with this character [yaml-syntax]
        |
      2 | b: \`y
        |    ^ expected the value in quotes

      s.yaml:3:4: error: a second ': ' on one line [yaml-syntax]
        |
      3 | c: d: e: f
        |    ^ expected one key and its value, or a mapping in { }
        = hint: text that holds ': ' needs quotes
      "
    `);
  });

  it("duplicate key", () => {
    expect(
      report(withLayers("a: { memory: { size: 1MiB } }", "a: { null: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:5: error: the key "a" stands twice in this mapping [duplicate-key]
        |
      7 |     a: { null: { size: 1MiB } }
        |     ^ expected each key once
        = hint: the first stands on line 6
      "
    `);
  });

  it("duplicate key inside, beside another mistake", () => {
    expect(
      report(withLayers("a: { memory: { size: 1MiB, size: 2MiB, sizes: 3MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:32: error: the key "size" stands twice in this mapping [duplicate-key]
        |
      6 |     a: { memory: { size: 1MiB, size: 2MiB, sizes: 3MiB } }
        |                                ^^^^ expected each key once
        = hint: the first stands on line 6

      s.yaml:6:44: error: unknown key "sizes" in memory "a" [unknown-key]
        |
      6 |     a: { memory: { size: 1MiB, size: 2MiB, sizes: 3MiB } }
        |                                            ^^^^^ expected one of size, blockSize
      "
    `);
  });

  it("list as a key", () => {
    expect(
      report(withLayers("a: { memory: { size: 1MiB } }", "? [b]", ": { null: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:7: error: this key is not plain text [key-not-text]
        |
      7 |     ? [b]
        |       ^^^ expected a name
      "
    `);
  });

  it("no key at all", () => {
    expect(
      report(withLayers("a: { memory: { size: 1MiB } }", ": { null: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:5: error: this key is not plain text [key-not-text]
        |
      7 |     : { null: { size: 1MiB } }
        |     ^ expected a name
      "
    `);
  });

  it("tag", () => {
    expect(report(withLayers("a: !disk { memory: { size: !!binary aGk= } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:14: error: the tag "!disk" has no meaning in a stack [unsupported-yaml]
        |
      6 |     a: !disk { memory: { size: !!binary aGk= } }
        |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected a value without a tag

      s.yaml:6:41: error: the tag "!!binary" has no meaning in a stack [unsupported-yaml]
        |
      6 |     a: !disk { memory: { size: !!binary aGk= } }
        |                                         ^^^^ expected a value without a tag

      s.yaml:6:41: error: "aGk=" is not a size [bad-size]
        |
      6 |     a: !disk { memory: { size: !!binary aGk= } }
        |                                         ^^^^ expected a whole number of bytes, or a whole number with KiB, MiB, GiB or TiB, such as 64KiB
      "
    `);
  });

  it("YAML 1.1, where no is false", () => {
    expect(report("%YAML 1.1\n---\na: no\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: YAML 1.1 reads some words differently [unsupported-yaml]
        |
      1 | %YAML 1.1
        | ^^^^^^^^^ expected YAML 1.2, without a %YAML directive
      "
    `);
  });

  it("alias without anchor", () => {
    expect(
      report(withLayers("a: { memory: &large { size: 1MiB } }", "b: { memory: *lareg }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:18: error: no anchor &lareg stands before this alias [yaml-syntax]
        |
      7 |     b: { memory: *lareg }
        |                  ^^^^^^
        = did you mean *large?
      "
    `);
  });

  it("alias inside its own anchor", () => {
    expect(report(withLayers("a: &a { linear: { members: [*a] } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:33: error: the alias *a stands inside its own anchor [too-many-aliases]
        |
      6 |     a: &a { linear: { members: [*a] } }
        |                                 ^^
      "
    `);
  });

  it("aliases that multiply", () => {
    expect(
      report(
        `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n`,
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:5:14: error: aliases make this document too large [too-many-aliases]
        |
      5 | e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
        |              ^^
      "
    `);
  });

  it("nesting without end", () => {
    expect(report("[".repeat(1000))).toMatchInlineSnapshot(`
      "
      s.yaml:1:257: error: collections are nested too deeply [input-too-large]
        |
      1 | …[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
        |                                          ^ expected at most 64 levels
      "
    `);
  });

  it("text of more than 1 MiB", () => {
    expect(report("# comment\n".repeat(110_000))).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: the text is too large [input-too-large]
        |
      1 | # comment
        | ^ expected at most 1MiB
      "
    `);
  });

  it("more documents than anybody runs", () => {
    const text = withLayers("a: { null: { size: 512 } }");
    const texts = Array.from({ length: 300 }, (_, n) => text.replace("name: s", `name: s${n}`));
    expect(report(texts.join("---\n"))).toMatchInlineSnapshot(`
      "
      s.yaml:2049:1: error: there are too many documents in this text [input-too-large]
           |
      2049 | apiVersion: ublk-stack/v1
           | ^^^^^^^^^^^^^^^^^^^^^^^^^ expected at most 256
      "
    `);
  });

  it("nothing", () => {
    expect(report("")).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: there is no stack in this text [no-document]
        |
      1 |
        | ^ expected apiVersion: ublk-stack/v1
      "
    `);
  });

  it("nothing but comments", () => {
    expect(report("# a\n---\n# b\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: there is no stack in this text [no-document]
        |
      1 | # a
        | ^ expected apiVersion: ublk-stack/v1
      "
    `);
  });

  it("control characters do not reach the terminal", () => {
    expect(report('a: "x\\u001b[31m"\nb\u001b[2J: 1\n')).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: the document has no "apiVersion" [missing-key]
        |
      1 | a: "x\\u001b[31m"
        | ^^^^^^^^^^^^^^^^ expected apiVersion: ublk-stack/v1

      s.yaml:1:1: error: the document has no "kind" [missing-key]
        |
      1 | a: "x\\u001b[31m"
        | ^^^^^^^^^^^^^^^^ expected kind: Stack

      s.yaml:1:1: error: the document has no "metadata" [missing-key]
        |
      1 | a: "x\\u001b[31m"
        | ^^^^^^^^^^^^^^^^ expected the key metadata

      s.yaml:1:1: error: the document has no "spec" [missing-key]
        |
      1 | a: "x\\u001b[31m"
        | ^^^^^^^^^^^^^^^^ expected the key spec

      s.yaml:1:1: error: unknown key "a" in the document [unknown-key]
        |
      1 | a: "x\\u001b[31m"
        | ^ expected one of apiVersion, kind, metadata, spec

      s.yaml:2:1: error: unknown key "b\\u001b[2J" in the document [unknown-key]
        |
      2 | b�[2J: 1
        | ^^^^^ expected one of apiVersion, kind, metadata, spec
      "
    `);
  });

  it("a long line is cut around the mistake", () => {
    expect(report(`${"x".repeat(300)}: @ # ${"y".repeat(300)}\n`)).toMatchInlineSnapshot(`
      "
      s.yaml:1:303: error: a plain value cannot start with this character [yaml-syntax]
        |
      1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: @ # yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…
        |                                          ^ expected the value in quotes
      "
    `);
  });

  it("wide letters are underlined in full", () => {
    expect(report(withLayers('a: { memory: { size: 1MiB, "大きさ": 3 } } # 大'))).toMatchInlineSnapshot(`
      "
      s.yaml:6:32: error: unknown key "大きさ" in memory "a" [unknown-key]
        |
      6 |     a: { memory: { size: 1MiB, "大きさ": 3 } } # 大
        |                                ^^^^^^^^ expected one of size, blockSize
      "
    `);
  });
});
