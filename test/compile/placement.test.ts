import { describe, expect, it } from "vitest";
import type { Table } from "../../src/compile/table.js";
import {
  file,
  findingsOf,
  HOST_WITHOUT_UBLK,
  linear,
  MIB,
  memory,
  mirror,
  nothing,
  readOnly,
  stack,
  stripe,
  tableOf,
  world,
} from "./build.js";

/** Each device in one line: name, frontend, exports with their layer, then layers; `>` marks an opened device. */
function shape(table: Table): string[] {
  return table.devices.map((device) => {
    const exports = device.exports.map(
      (entry) => `${entry.name ?? "-"}=${device.layers[entry.root]?.name}${entry.readOnly ? ":ro" : ""}`,
    );
    const layers = device.layers.map(
      (layer) => `${layer.params.device === undefined ? "" : ">"}${layer.name}${layer.readOnly ? ":ro" : ""}`,
    );
    return `${device.name} ${device.frontend} [${exports.join(" ")}] ${layers.join(" ")}`;
  });
}

const parts = {
  d0: file(MIB),
  d1: file(MIB),
  d2: memory(2 * MIB),
  wide: stripe(65536, "d0", "d1"),
  safe: mirror("wide", "d2"),
};

describe("fused", () => {
  it("serves a stack as one device", () => {
    expect(shape(tableOf(stack(parts, { data: "safe" })))).toEqual([
      "safe ublk [data=safe] safe wide d0 d1 d2",
    ]);
  });

  it("serves the same layers over NBD where there is no ublk", () => {
    const table = tableOf(stack(parts, { data: "safe" }), world({}, HOST_WITHOUT_UBLK));
    expect(shape(table)).toEqual(["@nbd nbd [data=safe] safe wide d0 d1 d2"]);
  });

  it("cuts at a layer that is exported on ublk too, which stays writable for the device above", () => {
    const table = tableOf(stack(parts, { data: "safe", stripes: "wide" }));
    expect(shape(table)).toEqual([
      "wide ublk [stripes=wide] wide d0 d1",
      "safe ublk [data=safe] safe >wide d2",
    ]);
    expect(table.devices[0]?.access.mode).toBe("0400");
    expect(table.devices[1]?.opens).toEqual(["wide"]);
  });

  it("cuts at a layer that NBD shows from inside a ublk device", () => {
    const table = tableOf(stack(parts, { data: "safe", peek: { layer: "wide", frontend: "nbd" } }));
    expect(shape(table)).toEqual([
      "wide ublk [-=wide] wide d0 d1",
      "@nbd nbd [peek=wide:ro] >wide:ro",
      "safe ublk [data=safe] safe >wide d2",
    ]);
  });

  it("shows a layer and its member from one NBD server", () => {
    const table = tableOf(
      stack(parts, { data: "safe", peek: "wide" }, { compose: "fused" }),
      world({}, HOST_WITHOUT_UBLK),
    );
    expect(shape(table)).toEqual(["@nbd nbd [data=safe peek=wide:ro] safe d2 wide d0 d1"]);
  });

  it("lets the NBD server open the ublk device below it", () => {
    const table = tableOf(stack(parts, { data: { layer: "safe", frontend: "nbd" }, raw: "wide" }));
    expect(shape(table)).toEqual(["wide ublk [raw=wide] wide d0 d1", "@nbd nbd [data=safe] safe >wide d2"]);
  });

  it("gives a layer on both frontends to ublk to write, and says so", () => {
    const spec = stack(parts, { a: "safe", b: { layer: "safe", frontend: "nbd" } });
    expect(shape(tableOf(spec))).toEqual([
      "safe ublk [a=safe] safe wide d0 d1 d2",
      "@nbd nbd [b=safe:ro] >safe:ro",
    ]);
    expect(findingsOf(spec)).toEqual([
      'warning export-not-writable: export "b" is read-only on NBD: layer "safe" is a ublk device too, and a layer has one writer',
    ]);
  });

  it("repeats a read-only layer in every device that wants it, and once in each", () => {
    const spec = stack(
      {
        base: readOnly(file(MIB)),
        a: linear("base", "base2"),
        base2: readOnly(file(MIB)),
        b: mirror("base", "x"),
        x: nothing(MIB),
      },
      { a: "a", b: "b", c: { layer: "base", frontend: "nbd" } },
    );
    expect(shape(tableOf(spec))).toEqual([
      "@nbd nbd [c=base:ro] base:ro",
      "a ublk [a=a:ro] a:ro base:ro base2:ro",
      "b ublk [b=b:ro] b:ro base:ro x:ro",
    ]);
  });

  it("opens what nobody writes read-only", () => {
    const spec = stack(parts, { data: { layer: "safe", readOnly: true } });
    expect(shape(tableOf(spec))).toEqual(["safe ublk [data=safe:ro] safe:ro wide:ro d0:ro d1:ro d2:ro"]);
    expect(tableOf(spec).devices[0]?.access.mode).toBe("0600");
  });
});

describe("layered", () => {
  it("makes a device of every layer, bottom-up", () => {
    const table = tableOf(stack(parts, { data: "safe" }, { compose: "layered" }));
    expect(table.compose).toBe("layered");
    expect(shape(table)).toEqual([
      "d0 ublk [-=d0] d0",
      "d1 ublk [-=d1] d1",
      "d2 ublk [-=d2] d2",
      "wide ublk [-=wide] wide >d0 >d1",
      "safe ublk [data=safe] safe >wide >d2",
    ]);
  });

  it("lets NBD write through the device of its layer", () => {
    const spec = stack(
      { a: file(MIB), b: file(MIB) },
      { a: { layer: "a", frontend: "nbd" }, b: "b" },
      { compose: "layered" },
    );
    expect(shape(tableOf(spec))).toEqual(["a ublk [-=a] a", "@nbd nbd [a=a] >a", "b ublk [b=b] b"]);
  });

  it("is served fused without ublk, and says so", () => {
    const spec = stack(parts, { data: "safe" }, { compose: "layered" });
    const where = world({}, HOST_WITHOUT_UBLK);
    expect(tableOf(spec, where).compose).toBe("fused");
    expect(findingsOf(spec, where)).toEqual([
      'warning layered-without-ublk: stack "demo" is served fused: every export is on NBD, and layers can be devices of their own on ublk only',
    ]);
  });
});

describe("engine", () => {
  const asked = (exports: Parameters<typeof stack>[1]) => stack(parts, exports, { engine: "uring-bpf" });

  it("is asked for on every ublk device, exported or not", () => {
    const { devices } = tableOf(stack(parts, { data: "safe" }, { engine: "uring-bpf", compose: "layered" }));
    expect(devices.map((device) => device.ublk?.engine)).toEqual(Array(5).fill("uring-bpf"));
  });

  it("is native over NBD, and a stack without ublk says so", () => {
    const where = world({}, HOST_WITHOUT_UBLK);
    expect(tableOf(asked({ data: "safe" }), where).devices[0]?.ublk).toBeNull();
    expect(findingsOf(asked({ data: "safe" }), where)).toEqual([
      'warning engine-without-ublk: stack "demo" is served by engine native: every export is on NBD, and uring-bpf serves ublk only',
    ]);
    expect(findingsOf(asked({ data: "safe", peek: { layer: "wide", frontend: "nbd" } }))).toEqual([]);
    expect(findingsOf(stack(parts, { data: "safe" }), where)).toEqual([]);
  });
});

describe("exports", () => {
  it("refuse ublk where there is none", () => {
    const spec = stack(parts, { data: { layer: "safe", frontend: "ublk" } });
    expect(findingsOf(spec, world({}, HOST_WITHOUT_UBLK))).toEqual([
      'error no-ublk: export "data" asks for ublk, and this host has no ublk driver',
    ]);
  });

  it("take queues by the CPUs of the host, and by the file", () => {
    const ublk = { queues: 7, depth: 16, id: 3, poll: "off" } as const;
    const spec = stack({ a: file(MIB), b: file(MIB) }, { a: "a", b: { layer: "b", ublk } });
    const table = tableOf(spec, world({}, { ublk: true, cpus: 64 }));
    expect(table.devices.map((device) => device.ublk)).toEqual([
      { queues: 4, depth: 128, id: -1, engine: "auto", poll: "auto" },
      { ...ublk, engine: "auto" },
    ]);
  });

  it("refuse the same device number twice", () => {
    const ublk = { queues: null, depth: 128, id: 3, poll: "auto" } as const;
    const spec = stack({ a: file(MIB), b: file(MIB) }, { a: { layer: "a", ublk }, b: { layer: "b", ublk } });
    expect(findingsOf(spec)).toEqual(['error bad-value: exports "a" and "b" both ask for /dev/ublkb3']);
  });

  it("on the one NBD socket refuse to ask for different owners of it", () => {
    const spec = stack({ a: file(MIB), b: file(MIB) }, { a: "a", b: { layer: "b", owner: "joe" } });
    expect(findingsOf(spec, world({}, HOST_WITHOUT_UBLK))).toEqual([
      `error bad-value: exports "a" and "b" share the stack's NBD socket and ask for different owners of it`,
    ]);
    expect(findingsOf(spec)).toEqual([]);
  });
});

describe("what one device can hold", () => {
  const leaves = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i}`, file(MIB)]));
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `d${from + i}`);

  it("is 64 layers; a cut in the middle makes room", () => {
    const many = {
      ...leaves(62),
      a: linear(...range(0, 31)),
      b: linear(...range(31, 62)),
      top: linear("a", "b"),
    };
    expect(findingsOf(stack(many, { data: "top" }))).toEqual([
      'error too-many-layers: device "top" would be made of 65 layers with 64 members',
    ]);
    expect(findingsOf(stack(many, { data: "top", half: "a" }))).toEqual([]);
  });

  it("is 32 members of a layer", () => {
    expect(findingsOf(stack({ ...leaves(33), top: linear(...range(0, 33)) }, { data: "top" }))).toEqual([
      'error too-many-members: layer "top" has 33 members',
    ]);
  });

  it("is eight levels", () => {
    const deep = {
      l1: file(MIB),
      ...Object.fromEntries(range(2, 10).map((_, i) => [`l${i + 2}`, linear(`l${i + 1}`)])),
    };
    expect(findingsOf(stack(deep, { data: "l9" }))).toEqual([
      'error too-deep: device "l9" would be 9 layers deep',
    ]);
    expect(findingsOf(stack(deep, { data: "l9", half: "l4" }))).toEqual([]);
  });

  it("is 256 links", () => {
    const shared = readOnly(file(MIB));
    const rows = Object.fromEntries(
      Array.from({ length: 9 }, (_, i) => [`r${i}`, linear(...Array.from({ length: 29 }, () => "base"))]),
    );
    const spec = stack({ base: shared, ...rows, top: linear(...Object.keys(rows)) }, { data: "top" });
    expect(findingsOf(spec)).toEqual([
      'error too-many-layers: device "top" would be made of 11 layers with 270 members',
    ]);
  });
});

describe("two layers on one path", () => {
  const same = { a: file(MIB, { path: "x.img" }), b: file(MIB, { path: "x.img" }) };
  it("are refused where one of them is written", () => {
    expect(findingsOf(stack(same, { a: "a", b: { layer: "b", readOnly: true } }))).toEqual([
      'error path-twice: layers "b" and "a" use the same path, and what one writes the other overwrites',
    ]);
  });
  it("are allowed where both are only read", () => {
    const spec = stack(same, { a: { layer: "a", readOnly: true }, b: { layer: "b", readOnly: true } });
    expect(findingsOf(spec)).toEqual([]);
  });
});
