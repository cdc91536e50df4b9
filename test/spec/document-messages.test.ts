import { describe, expect, it } from "vitest";
import { report, withExports, withLayers, withSpec } from "./helpers.js";

describe("a mistake in the document", () => {
  it("not a mapping", () => {
    expect(report("hello\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: the document "hello" [wrong-type]
        |
      1 | hello
        | ^^^^^ expected a mapping
      "
    `);
  });

  it("nothing of what is needed", () => {
    expect(report("{}\n")).toMatchInlineSnapshot(`
      "
      s.yaml:1:1: error: the document has no "apiVersion" [missing-key]
        |
      1 | {}
        | ^^ expected apiVersion: ublk-stack/v1

      s.yaml:1:1: error: the document has no "kind" [missing-key]
        |
      1 | {}
        | ^^ expected kind: Stack

      s.yaml:1:1: error: the document has no "metadata" [missing-key]
        |
      1 | {}
        | ^^ expected the key metadata

      s.yaml:1:1: error: the document has no "spec" [missing-key]
        |
      1 | {}
        | ^^ expected the key spec
      "
    `);
  });

  it("another version and kind", () => {
    expect(
      report(
        "apiVersion: ublk-stack/v2\nkind: Pod\nmetadata: { name: s }\nspec: { layers: { a: { null: { size: 1MiB } } }, exports: { a: { layer: a } } }\n",
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:1:13: error: apiVersion cannot be "ublk-stack/v2" [wrong-version]
        |
      1 | apiVersion: ublk-stack/v2
        |             ^^^^^^^^^^^^^ expected ublk-stack/v1

      s.yaml:2:7: error: kind cannot be "Pod" [wrong-version]
        |
      2 | kind: Pod
        |       ^^^ expected Stack
      "
    `);
  });

  it("bad name of a stack", () => {
    expect(
      report(
        "apiVersion: ublk-stack/v1\nkind: Stack\nmetadata: { name: My_Stack }\nspec: { layers: { a: { null: { size: 1MiB } } }, exports: { a: { layer: a } } }\n",
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:3:19: error: "My_Stack" is not a valid name [bad-name]
        |
      3 | metadata: { name: My_Stack }
        |                   ^^^^^^^^ expected a DNS label: 1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends
        = did you mean my-stack?
      "
    `);
  });

  it("bad name of a layer is told once, not again where it is used", () => {
    expect(
      report(withLayers("Disk: { memory: { size: 1MiB } }", "a: { linear: { members: [disk] } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:5: error: "Disk" is not a valid name [bad-name]
        |
      6 |     Disk: { memory: { size: 1MiB } }
        |     ^^^^ expected a DNS label: 1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends
        = did you mean disk?
      "
    `);
  });

  it("bad name of an export", () => {
    expect(report(withExports("-data: { layer: a }"))).toMatchInlineSnapshot(`
      "
      s.yaml:7:5: error: "-data" is not a valid name [bad-name]
        |
      7 |     -data: { layer: a }
        |     ^^^^^ expected a DNS label: 1 to 63 of a-z, 0-9 and '-', a letter or digit at both ends
        = did you mean data?
      "
    `);
  });

  it("unknown key of spec", () => {
    expect(report(withSpec("layer: {}"))).toMatchInlineSnapshot(`
      "
      s.yaml:8:3: error: unknown key "layer" in spec [unknown-key]
        |
      8 |   layer: {}
        |   ^^^^^ expected one of compose, engine, nbd, layers, exports
      "
    `);
  });

  it("unknown key stands for the missing one", () => {
    expect(report(withLayers("a: { file: { paht: x.img } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:18: error: unknown key "paht" in file "a" [unknown-key]
        |
      6 |     a: { file: { paht: x.img } }
        |                  ^^^^ expected one of path, size, sizeMax, direct, blockSize, create
        = did you mean path?
      "
    `);
  });

  it("key missing", () => {
    expect(report(withLayers("a: { file: {} }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:10: error: file "a" has no "path" [missing-key]
        |
      6 |     a: { file: {} }
        |          ^^^^ expected the key path
      "
    `);
  });

  it("option at the place of a type", () => {
    expect(report(withLayers("a: { memory: { size: 1MiB }, blockSize: 4096 }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:34: error: unknown layer type or key "blockSize" in layer "a" [unknown-key]
        |
      6 |     a: { memory: { size: 1MiB }, blockSize: 4096 }
        |                                  ^^^^^^^^^ expected one of readOnly, badblocks, block, cow, delay, error, file, flakey, linear, logwrites, memory, mirror, null, partition, qcow2, readonly, stripe, throttle, zero
        = hint: "blockSize" belongs inside "memory"
      "
    `);
  });

  it("unknown layer type", () => {
    expect(
      report(withLayers("a: { stripes: { members: [b] } }", "b: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:10: error: unknown layer type or key "stripes" in layer "a" [unknown-key]
        |
      6 |     a: { stripes: { members: [b] } }
        |          ^^^^^^^ expected one of readOnly, badblocks, block, cow, delay, error, file, flakey, linear, logwrites, memory, mirror, null, partition, qcow2, readonly, stripe, throttle, zero
        = did you mean stripe?
      "
    `);
  });

  it("no layer type", () => {
    expect(report(withLayers("a: { readOnly: true }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:5: error: layer "a" has no type [layer-without-type]
        |
      6 |     a: { readOnly: true }
        |     ^ expected one of badblocks, block, cow, delay, error, file, flakey, linear, logwrites, memory, mirror, null, partition, qcow2, readonly, stripe, throttle, zero
      "
    `);
  });

  it("two layer types", () => {
    expect(report(withLayers("a: { file: { path: x.img }, memory: { size: 1MiB } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:33: error: layer "a" already is a file and cannot be a memory as well [layer-with-types]
        |
      6 |     a: { file: { path: x.img }, memory: { size: 1MiB } }
        |                                 ^^^^^^ expected exactly one layer type
      "
    `);
  });

  it("layer without a body", () => {
    expect(report(withLayers("a:"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:5: error: layer "a" empty [wrong-type]
        |
      6 |     a:
        |     ^ expected a mapping
      "
    `);
  });

  it("text for a boolean, as YAML 1.1 had it", () => {
    expect(report(withLayers("a: { readOnly: yes, memory: { size: 1MiB } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:20: error: readOnly of layer "a" "yes" [wrong-type]
        |
      6 |     a: { readOnly: yes, memory: { size: 1MiB } }
        |                    ^^^ expected true or false
        = did you mean true?
      "
    `);
  });

  it("boolean for a choice", () => {
    expect(report(withLayers("a: { file: { path: x.img, direct: true } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:39: error: direct of file "a" cannot be true [bad-value]
        |
      6 |     a: { file: { path: x.img, direct: true } }
        |                                       ^^^^ expected one of auto, on, off
        = did you mean on?
      "
    `);
  });

  it("bad choice", () => {
    expect(
      report(withLayers("a: { file: { path: x.img, direct: atuo, create: always } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:39: error: direct of file "a" cannot be "atuo" [bad-value]
        |
      6 |     a: { file: { path: x.img, direct: atuo, create: always } }
        |                                       ^^^^ expected one of auto, on, off
        = did you mean auto?

      s.yaml:6:53: error: create of file "a" cannot be "always" [bad-value]
        |
      6 |     a: { file: { path: x.img, direct: atuo, create: always } }
        |                                                     ^^^^^^ expected one of ifMissing, never
      "
    `);
  });

  it("engine of a kernel that does not exist yet", () => {
    expect(report(withSpec("engine: ublk-bpf"))).toMatchInlineSnapshot(`
      "
      s.yaml:8:11: error: spec.engine cannot be "ublk-bpf" [bad-value]
        |
      8 |   engine: ublk-bpf
        |           ^^^^^^^^ expected one of auto, native, uring-bpf
        = hint: no released kernel has ublk_bpf_ops, which this engine would need
      "
    `);
  });

  it("engine that is none", () => {
    expect(report(withSpec("engine: uring_bpf"))).toMatchInlineSnapshot(`
      "
      s.yaml:8:11: error: spec.engine cannot be "uring_bpf" [bad-value]
        |
      8 |   engine: uring_bpf
        |           ^^^^^^^^^ expected one of auto, native, uring-bpf
        = did you mean uring-bpf?
      "
    `);
    expect(report(withSpec("engine: constructor"))).toMatchInlineSnapshot(`
      "
      s.yaml:8:11: error: spec.engine cannot be "constructor" [bad-value]
        |
      8 |   engine: constructor
        |           ^^^^^^^^^^^ expected one of auto, native, uring-bpf
      "
    `);
  });

  it("poll as YAML 1.1 would have it", () => {
    expect(report(withExports("data: { layer: a, ublk: { poll: true } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:7:37: error: poll of ublk of export "data" cannot be true [bad-value]
        |
      7 |     data: { layer: a, ublk: { poll: true } }
        |                                     ^^^^ expected one of auto, on, off
        = did you mean on?
      "
    `);
    expect(report(withExports("data: { layer: a, ublk: { poll: no } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:7:37: error: poll of ublk of export "data" cannot be "no" [bad-value]
        |
      7 |     data: { layer: a, ublk: { poll: no } }
        |                                     ^^ expected one of auto, on, off
        = did you mean off?
      "
    `);
  });

  it("number for a name", () => {
    expect(
      report(withLayers("a: { linear: { members: [1] } }", "1: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:30: error: member 0 of linear "a" 1 [wrong-type]
        |
      6 |     a: { linear: { members: [1] } }
        |                              ^ expected the name of a layer, or a layer written in place
        = did you mean "1"?
      "
    `);
  });

  it("text for a number", () => {
    expect(
      report(withExports('data: { layer: a, ublk: { queues: "2", depth: many } }')),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:39: error: queues of ublk of export "data" "2" [wrong-type]
        |
      7 |     data: { layer: a, ublk: { queues: "2", depth: many } }
        |                                       ^^^ expected a whole number
        = did you mean 2?

      s.yaml:7:51: error: depth of ublk of export "data" "many" [wrong-type]
        |
      7 |     data: { layer: a, ublk: { queues: "2", depth: many } }
        |                                                   ^^^^ expected a whole number
      "
    `);
  });

  it("members that are no list", () => {
    expect(
      report(withLayers("a: { linear: { members: b } }", "b: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:29: error: members of linear "a" "b" [wrong-type]
        |
      6 |     a: { linear: { members: b } }
        |                             ^ expected a list of layers
      "
    `);
  });

  it("no members", () => {
    expect(report(withLayers("a: { linear: { members: [] } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:29: error: members of linear "a" are empty [out-of-range]
        |
      6 |     a: { linear: { members: [] } }
        |                             ^^ expected at least one entry
      "
    `);
  });

  it("33 members", () => {
    expect(
      report(
        withLayers(
          `a: { linear: { members: [${Array.from({ length: 33 }, (_, index) => `d${index}`)}] } }`,
          ...Array.from({ length: 33 }, (_, index) => `d${index}: { memory: { size: 1MiB } }`),
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:29: error: there are 33 members of linear "a" [too-many-members]
        |
      6 |     a: { linear: { members: [d0,d1,d2,d3,d4,d5,d6,d7,d8,d9,d10,d11,d12,d13,d14,d15,d16,d17,d18,d19,d20,d21,d22,d23,d24,d25,d26,d27,d28,d29,d30,d31,d…
        |                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected at most 32
      "
    `);
  });

  it("sizes that are none", () => {
    expect(
      report(
        withLayers(
          "a: { memory: { size: 1MB } }",
          "b: { memory: { size: 1.5GiB } }",
          "c: { memory: { size: 0 } }",
          "d: { memory: { size: -4096 } }",
          "e: { memory: { size: big } }",
          "f: { memory: { size: 64 k } }",
        ),
      ),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:26: error: "1MB" is not a size [bad-size]
        |
      6 |     a: { memory: { size: 1MB } }
        |                          ^^^ expected a whole number of bytes, or a whole number with KiB, MiB, GiB or TiB, such as 64KiB
        = did you mean 1MiB?

      s.yaml:7:26: error: "1.5GiB" is not a size [bad-size]
        |
      7 |     b: { memory: { size: 1.5GiB } }
        |                          ^^^^^^ expected a whole number of bytes, or a whole number with KiB, MiB, GiB or TiB, such as 64KiB
        = did you mean 1536MiB?

      s.yaml:8:26: error: 0 is not a size [bad-size]
        |
      8 |     c: { memory: { size: 0 } }
        |                          ^ expected 1 byte to less than 8192TiB

      s.yaml:9:26: error: -4096 is not a size [bad-size]
        |
      9 |     d: { memory: { size: -4096 } }
        |                          ^^^^^ expected 1 byte to less than 8192TiB

      s.yaml:10:26: error: "big" is not a size [bad-size]
         |
      10 |     e: { memory: { size: big } }
         |                          ^^^ expected a whole number of bytes, or a whole number with KiB, MiB, GiB or TiB, such as 64KiB

      s.yaml:11:26: error: "64 k" is not a size [bad-size]
         |
      11 |     f: { memory: { size: 64 k } }
         |                          ^^^^ expected a whole number of bytes, or a whole number with KiB, MiB, GiB or TiB, such as 64KiB
         = did you mean 64KiB?
      "
    `);
  });

  it("size too large for any number", () => {
    expect(
      report(withLayers("a: { memory: { size: 9000TiB } }", "b: { memory: { size: 99999999999999999999 } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:26: error: size of memory "a" cannot be 9000TiB [bad-size]
        |
      6 |     a: { memory: { size: 9000TiB } }
        |                          ^^^^^^^ expected less than 8192TiB

      s.yaml:7:26: error: 100000000000000000000 is not a size [bad-size]
        |
      7 |     b: { memory: { size: 99999999999999999999 } }
        |                          ^^^^^^^^^^^^^^^^^^^^ expected 1 byte to less than 8192TiB
      "
    `);
  });

  it("size not a multiple of the block size", () => {
    expect(
      report(withLayers("a: { memory: { size: 1000 } }", "b: { memory: { size: 10KiB, blockSize: 4096 } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:26: error: size of memory "a" cannot be 1000 [size-not-multiple]
        |
      6 |     a: { memory: { size: 1000 } }
        |                          ^^^^ expected a multiple of blockSize 512
        = did you mean 1KiB?

      s.yaml:7:26: error: size of memory "b" cannot be 10KiB [size-not-multiple]
        |
      7 |     b: { memory: { size: 10KiB, blockSize: 4096 } }
        |                          ^^^^^ expected a multiple of blockSize 4KiB
        = did you mean 12KiB?
      "
    `);
  });

  it("block size that is none", () => {
    expect(report(withLayers("a: { memory: { size: 1000, blockSize: 513 } }"))).toMatchInlineSnapshot(`
      "
      s.yaml:6:43: error: blockSize of memory "a" cannot be 513 [bad-value]
        |
      6 |     a: { memory: { size: 1000, blockSize: 513 } }
        |                                           ^^^ expected one of 512, 1024, 2048, 4096
        = did you mean 512?
      "
    `);
  });

  it("chunk not a power of two", () => {
    expect(
      report(withLayers("a: { stripe: { members: [b], chunk: 96KiB } }", "b: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:41: error: chunk of stripe "a" cannot be 96KiB [not-power-of-two]
        |
      6 |     a: { stripe: { members: [b], chunk: 96KiB } }
        |                                         ^^^^^ expected a power of two, at least 4KiB
        = did you mean 128KiB?
      "
    `);
  });

  it("chunk too small", () => {
    expect(
      report(withLayers("a: { stripe: { members: [b], chunk: 2KiB } }", "b: { memory: { size: 1MiB } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:6:41: error: chunk of stripe "a" cannot be 2KiB [out-of-range]
        |
      6 |     a: { stripe: { members: [b], chunk: 2KiB } }
        |                                         ^^^^ expected at least 4KiB
        = did you mean 4KiB?
      "
    `);
  });

  it("empty path", () => {
    expect(report(withLayers('a: { file: { path: "" } }'))).toMatchInlineSnapshot(`
      "
      s.yaml:6:24: error: path of file "a" cannot be "" [bad-value]
        |
      6 |     a: { file: { path: "" } }
        |                        ^^ expected a path: 1 to 4095 characters, none of them NUL
      "
    `);
  });

  it("mode without quotes", () => {
    expect(report(withExports("data: { layer: a, mode: 0660 }"))).toMatchInlineSnapshot(`
      "
      s.yaml:7:29: error: mode of export "data" 660 [wrong-type]
        |
      7 |     data: { layer: a, mode: 0660 }
        |                             ^^^^ expected octal permissions in quotes, such as "0660"
      "
    `);
  });

  it("mode that is none", () => {
    expect(report(withExports("data: { layer: a, mode: rw-rw---- }"))).toMatchInlineSnapshot(`
      "
      s.yaml:7:29: error: mode of export "data" cannot be "rw-rw----" [bad-value]
        |
      7 |     data: { layer: a, mode: rw-rw---- }
        |                             ^^^^^^^^^ expected octal permissions in quotes, such as "0660"
      "
    `);
  });

  it("owner that is none", () => {
    expect(report(withExports('data: { layer: a, owner: "a b", group: -1 }'))).toMatchInlineSnapshot(`
      "
      s.yaml:7:30: error: owner of export "data" cannot be "a b" [bad-value]
        |
      7 |     data: { layer: a, owner: "a b", group: -1 }
        |                              ^^^^^ expected the name or number of a user or group

      s.yaml:7:44: error: group of export "data" cannot be -1 [out-of-range]
        |
      7 |     data: { layer: a, owner: "a b", group: -1 }
        |                                            ^^ expected 0 to 4294967294
      "
    `);
  });

  it("queue settings out of range", () => {
    expect(
      report(withExports("data: { layer: a, ublk: { queues: 0, depth: 5000, id: -2 } }")),
    ).toMatchInlineSnapshot(`
      "
      s.yaml:7:39: error: queues of ublk of export "data" cannot be 0 [out-of-range]
        |
      7 |     data: { layer: a, ublk: { queues: 0, depth: 5000, id: -2 } }
        |                                       ^ expected 1 to 4096

      s.yaml:7:49: error: depth of ublk of export "data" cannot be 5000 [out-of-range]
        |
      7 |     data: { layer: a, ublk: { queues: 0, depth: 5000, id: -2 } }
        |                                                 ^^^^ expected 1 to 4096

      s.yaml:7:59: error: id of ublk of export "data" cannot be -2 [out-of-range]
        |
      7 |     data: { layer: a, ublk: { queues: 0, depth: 5000, id: -2 } }
        |                                                           ^^ expected 0 to 1048575
      "
    `);
  });

  it("TCP without a host", () => {
    expect(report(withSpec('nbd: { tcp: ":10809" }'))).toMatchInlineSnapshot(`
      "
      s.yaml:8:15: error: spec.nbd.tcp cannot be ":10809" [bad-value]
        |
      8 |   nbd: { tcp: ":10809" }
        |               ^^^^^^^^ expected HOST:PORT, such as 127.0.0.1:10809 or [::1]:10809
      "
    `);
  });

  it("TCP port out of range", () => {
    expect(report(withSpec('nbd: { tcp: "127.0.0.1:70000", sockt: x }'))).toMatchInlineSnapshot(`
      "
      s.yaml:8:15: error: spec.nbd.tcp cannot be "127.0.0.1:70000" [bad-value]
        |
      8 |   nbd: { tcp: "127.0.0.1:70000", sockt: x }
        |               ^^^^^^^^^^^^^^^^^ expected HOST:PORT, such as 127.0.0.1:10809 or [::1]:10809

      s.yaml:8:34: error: unknown key "sockt" in spec.nbd [unknown-key]
        |
      8 |   nbd: { tcp: "127.0.0.1:70000", sockt: x }
        |                                  ^^^^^ expected one of socket, tcp
        = did you mean socket?
      "
    `);
  });
});
