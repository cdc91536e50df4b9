import { describe, expect, it } from "vitest";
import { checkDocument, parseStacks, type StackSpec } from "../../src/spec/index.js";
import { withExports, withLayers } from "./helpers.js";

function specOf(text: string): StackSpec {
  const { documents, problems } = parseStacks(text, "s.yaml");
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  const [first] = documents;
  if (first === undefined) throw new Error("no document");
  return first.spec;
}

describe("the normalised spec", () => {
  it("has every default filled in and every size in bytes", () => {
    const spec = specOf(
      withLayers("a: { stripe: { members: [b] } }", "b: { file: { path: b.img, size: 1MiB } }"),
    );
    expect(spec).toEqual({
      name: "s",
      compose: "fused",
      engine: "auto",
      nbd: { socket: null, tcp: null },
      layers: new Map([
        [
          "a",
          {
            name: "a",
            type: "stripe",
            readOnly: false,
            options: { members: ["b"], chunk: 65536 },
            docPath: ["spec", "layers", "a"],
          },
        ],
        [
          "b",
          {
            name: "b",
            type: "file",
            readOnly: false,
            options: {
              path: "b.img",
              size: 1048576,
              sizeMax: null,
              direct: "auto",
              blockSize: 512,
              create: "ifMissing",
            },
            docPath: ["spec", "layers", "b"],
          },
        ],
      ]),
      exports: new Map([
        [
          "data",
          {
            name: "data",
            layer: "a",
            frontend: "auto",
            readOnly: false,
            ublk: { queues: null, depth: 128, id: null, poll: "auto" },
            owner: null,
            group: null,
            mode: "0600",
            docPath: ["spec", "exports", "data"],
          },
        ],
      ]),
    });
  });

  it("keeps what was said", () => {
    const { exports } = specOf(
      withExports(
        'data: { layer: a, frontend: nbd, readOnly: true, ublk: { queues: 3, depth: 7, id: 0, poll: on }, owner: 0, group: disk, mode: "660" }',
      ),
    );
    expect(exports.get("data")).toMatchObject({
      frontend: "nbd",
      readOnly: true,
      ublk: { queues: 3, depth: 7, id: 0, poll: "on" },
      owner: "0",
      group: "disk",
      mode: "0660",
    });
  });

  it("lifts members written in place to PARENT.INDEX, with the place where they stand", () => {
    const { layers } = specOf(
      withLayers(
        "a: { linear: { members: [b, { mirror: { members: [{ memory: { size: 4096 } }] } }] } }",
        "b: { null: { size: 512 } }",
      ),
    );
    expect([...layers.keys()]).toEqual(["a", "a.1", "a.1.0", "b"]);
    expect(layers.get("a")?.options).toEqual({ members: ["b", "a.1"] });
    expect(layers.get("a.1.0")).toMatchObject({
      type: "memory",
      options: { size: 4096, blockSize: 512 },
      docPath: ["spec", "layers", "a", "linear", "members", 1, "mirror", "members", 0],
    });
  });

  it("takes a layer with a read-only member, and the export of a member, for read-only", () => {
    const { layers, exports } = specOf(
      withLayers(
        "a: { linear: { members: [b, c] } }",
        "b: { readOnly: true, memory: { size: 1MiB } }",
        "c: { memory: { size: 1MiB } }",
      ).replace("layer: a }", "layer: a }, part: { layer: c }"),
    );
    expect([...layers.values()].map(({ name, readOnly }) => [name, readOnly])).toEqual([
      ["a", true],
      ["b", true],
      ["c", false],
    ]);
    expect(exports.get("data")?.readOnly).toBe(true);
    expect(exports.get("part")?.readOnly).toBe(true);
  });

  it("lets a read-only layer feed several parents", () => {
    const text = withLayers(
      "a: { linear: { members: [b, c] } }",
      "b: { linear: { members: [base] } }",
      "c: { linear: { members: [base] } }",
      "base: { readOnly: true, memory: { size: 1MiB } }",
    );
    expect(parseStacks(text, "s.yaml").problems).toEqual([]);
  });

  it("allows a layer eight levels deep, and names that JavaScript has uses for", () => {
    const names = ["a", "constructor", "prototype", "tostring", "valueof", "then", "length"];
    const lines = names.map(
      (name, index) => `${name}: { linear: { members: [${names[index + 1] ?? "null"}] } }`,
    );
    const text = withLayers(
      ...lines.slice(0, -1),
      'length: { linear: { members: ["null"] } }',
      "null: { null: { size: 512 } }",
    );
    const { layers } = specOf(text);
    expect([...layers.keys()]).toEqual([...names, "null"]);
  });
});

describe("YAML", () => {
  it("writes a part out wherever an alias stands for it", () => {
    const { layers } = specOf(
      withLayers(
        "a: { mirror: { members: [b, c] } }",
        "b: { memory: &half { size: 1MiB } }",
        "c: { memory: *half }",
      ),
    );
    expect(layers.get("c")).toMatchObject({ type: "memory", options: { size: 1048576 } });
  });

  it("shows a mistake inside an anchored part once, where it is written", () => {
    const { problems } = parseStacks(
      withLayers(
        "a: { mirror: { members: [b, c] } }",
        "b: { memory: &half { size: 1MB } }",
        "c: { memory: *half }",
      ),
      "s.yaml",
    );
    expect(problems.map(({ code, line, column, length }) => ({ code, line, column, length }))).toEqual([
      { code: "bad-size", line: 7, column: 32, length: 3 },
    ]);
  });

  it("may hold several documents; the good ones are kept beside the bad", () => {
    const good = withExports("data: { layer: a }");
    const text = [
      good,
      good.replace("name: s", "name: t").replace("Stack", "Pod"),
      "# nothing\n",
      good.replace("name: s", "name: u"),
    ].join("---\n");
    const { documents, problems } = parseStacks(text, "s.yaml");
    expect(documents.map(({ spec }) => spec.name)).toEqual(["s", "u"]);
    expect(problems.map(({ code, line }) => [code, line])).toEqual([["wrong-version", 10]]);
  });

  it("is version 1.2: 0o17 and 0x1000 are numbers, and << is a key like any other", () => {
    const { layers } = specOf(withLayers("a: { memory: { size: 0x1000 } }"));
    expect(layers.get("a")?.options).toMatchObject({ size: 4096 });
    const merged = parseStacks(withLayers("a: { <<: { memory: { size: 4096 } } }"), "s.yaml");
    expect(merged.problems.map(({ code }) => code)).toEqual(["unknown-key"]);
  });

  it("may begin with a byte order mark, which takes no column, and end its lines with CR LF", () => {
    const text = `\uFEFF${withExports("data: { layer: b }")}`.replaceAll("\n", "\r\n");
    const { problems } = parseStacks(text, "s.yaml");
    expect(problems.map(({ code, line, column, length }) => [code, line, column, length])).toEqual([
      ["unknown-layer", 7, 20, 1],
    ]);
    expect(parseStacks("\uFEFFa: 1", "s.yaml").problems.map(({ column }) => column)).toContain(1);
  });

  it("may be JSON", () => {
    const document = {
      apiVersion: "ublk-stack/v1",
      kind: "Stack",
      metadata: { name: "json" },
      spec: { layers: { a: { null: { size: 512 } } }, exports: { data: { layer: "a" } } },
    };
    const { documents } = parseStacks(JSON.stringify(document), "s.json");
    expect(documents[0]?.document).toEqual(document);
    expect(checkDocument(document).spec).toEqual(documents[0]?.spec);
  });
});

describe("places of later findings", () => {
  const [stack] = parseStacks(
    withLayers(
      "a: { stripe: { members: [b, { memory: { size: 1MiB } }] } }",
      "b: { memory: { size: 1MiB } }",
    ),
    "s.yaml",
  ).documents;
  const locate = (path: (string | number)[], at: "key" | "value") => {
    const { line, column, length } = stack?.source.locate(path, at) ?? { line: 0, column: 0, length: 0 };
    return `${line}:${column}+${length}`;
  };

  it("are keys or values", () => {
    const layer = ["spec", "layers", "a"];
    expect(locate(layer, "key")).toBe("6:5+1");
    expect(locate([...layer, "stripe", "members"], "value")).toBe("6:29+31");
    expect(locate([...layer, "stripe", "members", 0], "value")).toBe("6:30+1");
    expect(locate([...layer, "stripe", "members", 1, "memory", "size"], "value")).toBe("6:51+4");
  });

  it("are the key around what is not in the text", () => {
    expect(locate(["spec", "layers", "a", "stripe", "chunk"], "value")).toBe("6:10+6");
    expect(locate(["spec", "compose"], "value")).toBe("4:1+4");
  });
});

describe("more mistakes than anybody reads at once", () => {
  it("are cut off, and the last one told says how many are left", () => {
    const lines = Array.from({ length: 250 }, (_, n) => `l${n}: { linear: { members: [m${n}x] } }`);
    const { problems } = parseStacks(withLayers("a: { null: { size: 512 } }", ...lines), "s.yaml");
    expect(problems.length).toBe(100);
    expect(problems.at(-1)?.hint).toBe("150 more are not shown");
  });
});
