/** What the compiler makes of layers with tables of their own, and of the files that grow under them. */
import { describe, expect, it } from "vitest";
import { compile } from "../../src/compile/compile.js";
import { graphOfSpec, graphOfTable } from "../../src/compile/graph.js";
import { graphText } from "../../src/compile/render-graph.js";
import { disk, world } from "./build.js";
import { compiled, diskOf, GIB, golden, image, layersOf, PIB, qcow2, said, specOf } from "./format-stacks.js";

describe("qcow2 in the table", () => {
  it("says what is stated and nothing else", () => {
    const [plain] = layersOf(compiled(diskOf({})));
    expect(plain).toMatchObject({
      type: "qcow2",
      sizeBytes: GIB,
      params: { create: "ifBlank", cacheBytes: 32 * 2 ** 20 },
    });
    expect(Object.keys(plain?.params ?? {})).toEqual(["create", "cacheBytes"]);
    const options = {
      create: "always",
      overwrite: true,
      clusterSize: "128KiB",
      refcountBits: 32,
      version: 3,
      extendedL2: true,
      compression: "zstd",
      lazyRefcounts: false,
      preallocation: "off",
      cache: "64MiB",
    };
    expect(layersOf(compiled(diskOf(options)))[0]?.params).toEqual({
      create: "always",
      overwrite: true,
      clusterBytes: 131072,
      refcountBits: 32,
      version: 3,
      extendedL2: true,
      compression: "zstd",
      lazyRefcounts: false,
      preallocation: "off",
      cacheBytes: 64 * 2 ** 20,
    });
  });

  it("has its base, backing and data file in this order, and never writes to the backing", () => {
    const layers = {
      disk: {
        qcow2: {
          dataFile: { file: { path: "disk.data" } },
          backing: golden,
          base: image,
          size: "1GiB",
        },
      },
    };
    const table = layersOf(compiled(layers));
    const [top] = table;
    expect(top?.children.map((child) => table[child]?.params.path)).toEqual([
      "disk.qcow2",
      "golden.raw",
      "disk.data",
    ]);
    expect(top?.params).toMatchObject({ backing: true, dataFile: true });
    expect(top?.children.map((child) => table[child]?.readOnly)).toEqual([false, true, false]);
  });

  it("is writable over a backing that is not, and not where its image is not", () => {
    const over = { ...diskOf({ backing: "golden" }), golden: { ...golden, readOnly: true } };
    expect(layersOf(compiled(over))[0]?.readOnly).toBe(false);
    const seen = { image: disk(GIB, { image: qcow2() }) };
    const not = compiled(diskOf({}, { ...image, readOnly: true }), seen);
    expect(layersOf(not).map((layer) => layer.readOnly)).toEqual([true, true]);
  });

  it("discards and zeroes whatever its base can, in clusters, and is durable after a flush", () => {
    const base = { block: { path: "/dev/sdz", size: "1GiB" } };
    const seen = disk(GIB, {
      maxDiscardBytes: 0,
      discardGranularityBytes: 0,
      maxWriteZeroesBytes: 0,
      volatileCache: false,
      fua: false,
    });
    const [top] = layersOf(compiled(diskOf({ clusterSize: "1MiB" }, base), { image: seen }));
    expect(top?.geometry).toEqual({
      logicalBlockBytes: 512,
      physicalBlockBytes: 4096,
      ioMinBytes: 4096,
      ioOptBytes: 2 ** 20,
      discardGranularityBytes: 2 ** 20,
      maxDiscardBytes: GIB,
      maxWriteZeroesBytes: GIB,
      volatileCache: true,
      fua: false,
      rotational: false,
    });
  });

  it("has the largest block of its members", () => {
    const backing = { memory: { size: "1GiB", blockSize: 4096 } };
    expect(layersOf(compiled(diskOf({ backing })))[0]?.geometry.logicalBlockBytes).toBe(4096);
  });

  it("looks after it was made as it did before", () => {
    const before = compiled(diskOf({}), { image: disk(0, { exists: false, image: { kind: "blank" } }) });
    const after = compiled(diskOf({}), { image: disk(327680, { image: qcow2() }) });
    expect(after).toEqual(before);
    const anew = { create: "always", overwrite: true };
    const over = compiled(diskOf(anew), {
      image: disk(9 * GIB, { image: qcow2({ clusterBytes: 2 ** 21, sizeBytes: 9 * GIB, refcountBits: 1 }) }),
    });
    expect(over).toEqual(compiled(diskOf(anew), { image: disk(327680, { image: qcow2() }) }));
  });

  it("loses its content at a reboot when one of its members does", () => {
    const stack = specOf(
      {
        a: {
          qcow2: { base: { file: { path: "a.img" } }, size: "1MiB", backing: { memory: { size: "1MiB" } } },
        },
        b: { memory: { size: "1MiB" } },
        m: { linear: { members: ["a", { file: { path: "c.img", size: "1MiB" } }] } },
      },
      { m: { layer: "m" } },
    );
    expect(said(compile(stack, world()))).toEqual([
      expect.stringContaining('volatile-member linear.members: layer "m" loses its content'),
    ]);
  });
});

describe("options of a qcow2 layer that do not go together", () => {
  const twoVersion = (options: object) => diskOf({ version: 2, ...options });
  const v2 = (what: string) => `"disk" has version 2 of the format, which knows no ${what}`;

  it.each<[string, object, string[]]>([
    ["version 2 alone", twoVersion({}), []],
    [
      "version 2 with what it always has",
      twoVersion({ refcountBits: 16, extendedL2: false, compression: "zlib" }),
      [],
    ],
    ["version 2, extended", twoVersion({ extendedL2: true }), [`extendedL2: ${v2("extended L2 entries")}`]],
    ["version 2, zstd", twoVersion({ compression: "zstd" }), [`compression: ${v2("compression by zstd")}`]],
    ["version 2, lazy", twoVersion({ lazyRefcounts: true }), [`lazyRefcounts: ${v2("lazy refcounts")}`]],
    [
      "version 2, data file",
      twoVersion({ dataFile: { file: { path: "x" } } }),
      [`dataFile: ${v2("data files")}`],
    ],
    [
      "version 2, refcounts",
      twoVersion({ refcountBits: 8 }),
      [`refcountBits: ${v2("refcounts but those of 16 bits")}`],
    ],
    [
      "extended L2 entries in small clusters",
      diskOf({ extendedL2: true, clusterSize: "8KiB" }),
      ['clusterSize: clusters of "disk" have 8KiB, too few for extended L2 entries'],
    ],
    ["extended L2 entries", diskOf({ extendedL2: true, clusterSize: "16KiB" }), []],
    ["extended L2 entries, unstated clusters", diskOf({ extendedL2: true }), []],
    [
      "preallocation over a backing",
      diskOf({ backing: "golden", preallocation: "metadata" }),
      ['preallocation: what is preallocated in the image of "disk" would hide its backing'],
    ],
    ["no preallocation over a backing", diskOf({ backing: "golden", preallocation: "off" }), []],
    [
      "to overwrite without saying so",
      diskOf({ create: "always" }),
      ['create: create: always writes over what the base of "disk" holds'],
    ],
    [
      "to overwrite, and no",
      diskOf({ create: "always", overwrite: false }),
      ['create: create: always writes over what the base of "disk" holds'],
    ],
    [
      "clusters smaller than a block",
      diskOf({ clusterSize: "2KiB" }, { file: { path: "disk.qcow2", blockSize: 4096 } }),
      ['clusterSize: clusters of "disk" have 2KiB, less than a block of "image"'],
    ],
    [
      "a disk of a part of a block",
      diskOf({ size: 1536 }, { file: { path: "disk.qcow2", blockSize: 4096 } }),
      ['size: the size of "disk" is not a multiple of its 4096-byte blocks'],
    ],
    [
      "a disk beyond small clusters",
      diskOf({ size: "129GiB", clusterSize: 512 }),
      [
        "size: a disk of 129GiB is too large for clusters of 512 bytes: its L1 table would have more than 32MiB",
      ],
    ],
    ["the largest disk of small clusters", diskOf({ size: "128GiB", clusterSize: 512 }), []],
  ])("%s", (_, layers, expected) => {
    const messages = compiled(layers)
      .findings.filter(({ severity }) => severity === "error")
      .map(({ path, message }) => `${path.at(-1)}: ${message}`);
    expect(messages).toEqual(expected);
  });

  it("an option that nothing goes by", () => {
    expect(said(compiled(diskOf({ overwrite: true })))).toEqual([
      "warning unused-option qcow2.overwrite: nothing is overwritten by create: ifBlank",
    ]);
  });
});

describe("the size of a qcow2 layer", () => {
  const without = (base: object) => ({ disk: { qcow2: { base } } });

  it("is the image's where nothing is stated, once somebody has looked", () => {
    expect(compiled(without(image))).toMatchObject({ table: null, findings: [], unsized: ["disk"] });
    const seen = { "disk.0": disk(2 ** 20, { image: qcow2({ sizeBytes: 3 * GIB, clusterBytes: 4096 }) }) };
    const [top, base] = layersOf(compiled(without(image), seen));
    expect(top).toMatchObject({ sizeBytes: 3 * GIB, geometry: { ioOptBytes: 4096 } });
    expect(base).toMatchObject({ sizeBytes: 4 * PIB, params: { grows: true } });
  });

  it("is stated on what is no file or device", () => {
    expect(said(compiled(without({ memory: { size: "1GiB" } })))).toEqual([
      'error missing-key qcow2.size: "disk" has no size: its base "disk.0" is no file or block device, whose image would tell',
    ]);
    expect(said(compiled(without({ linear: { members: [golden] } })))).toHaveLength(1);
    expect(said(compiled(without({ block: { path: "/dev/sdz" } })))).toEqual([]);
  });

  it("is stated where an image is made anew", () => {
    const anew = { disk: { qcow2: { base: image, create: "always", overwrite: true } } };
    expect(said(compiled(anew))).toEqual([
      'error missing-key qcow2.size: "disk" has no size, and its image is made anew',
    ]);
  });

  it("has to be whole blocks in the image, too", () => {
    const seen = { "disk.0": disk(2 ** 20, { image: qcow2({ sizeBytes: 5120 }) }) };
    const large = { disk: { qcow2: { base: { file: { path: "a", blockSize: 4096 } } } } };
    expect(said(compiled(large, seen))).toEqual([
      'error size-not-multiple qcow2.base: the disk in "a" has 5KiB, which is not a multiple of the 4096-byte blocks of "disk"',
    ]);
  });
});

describe("a file that grows", () => {
  it("comes to sizeMax at most", () => {
    const layers = diskOf({}, { file: { path: "disk.qcow2", sizeMax: "2GiB" } });
    expect(layersOf(compiled(layers))[1]).toMatchObject({ sizeBytes: 2 * GIB, params: { grows: true } });
    expect(said(compiled(layers, { image: disk(3 * GIB, { image: qcow2() }) }))).toEqual([
      'error size-differs file.sizeMax: "disk.qcow2" of layer "image" has 3GiB already',
    ]);
  });

  it("may have any length, and none", () => {
    expect(said(compiled(diskOf({}), { image: disk(12_345, { image: qcow2() }) }))).toEqual([]);
    expect(said(compiled(diskOf({}), { image: disk(0, { image: { kind: "blank" } }) }))).toEqual([]);
  });

  it("does not, where its size is stated", () => {
    const layers = diskOf({}, { file: { path: "disk.qcow2", size: "2GiB" } });
    expect(layersOf(compiled(layers))[1]).toMatchObject({
      sizeBytes: 2 * GIB,
      params: { path: "disk.qcow2", direct: "auto" },
    });
  });

  it("has a sizeMax there only", () => {
    expect(said(compiled(diskOf({}, { file: { path: "a", size: "1MiB", sizeMax: "1MiB" } })))).toEqual([
      'error unused-option file.sizeMax: file layer "image" does not grow: its size is stated',
    ]);
    const plain = { disk: { file: { path: "a", sizeMax: "1MiB" } } };
    expect(said(compiled(plain))).toEqual([
      'error unused-option file.sizeMax: file layer "disk" does not grow: no format such as qcow2 stands on it',
    ]);
  });

  it("is of no use to anybody else", () => {
    const exported = specOf(diskOf({}), { disk: { layer: "disk" }, raw: { layer: "image" } });
    expect(said(compile(exported, world()))).toEqual([
      'error no-fixed-size file: layer "image" says no size and grows under a format, and export "raw" needs one',
    ]);
    const shared = specOf(
      {
        image: { ...image, readOnly: true },
        disk: { qcow2: { base: "image", size: "1GiB" } },
        other: { linear: { members: ["image"] } },
      },
      { disk: { layer: "disk" }, other: { layer: "other" } },
    );
    expect(said(compile(shared, world()))).toEqual([
      'error no-fixed-size file: layer "image" says no size and grows under a format, and layer "other" needs one',
    ]);
  });

  it("may be under several formats that only read it", () => {
    const both = specOf(
      {
        image: { ...image, readOnly: true },
        disk: { qcow2: { base: "image", size: "1GiB" } },
        other: { qcow2: { base: "image", size: "1GiB" } },
      },
      { disk: { layer: "disk" }, other: { layer: "other" } },
    );
    expect(said(compile(both, world()))).toEqual([]);
  });

  it("stays in the device of the format where every layer is a device", () => {
    const { table } = compiled(diskOf({ backing: "golden" }), {}, { compose: "layered" });
    const devices = table?.devices.map(({ name, layers }) => [name, layers.map((layer) => layer.type)]);
    expect(devices).toEqual([
      ["golden", ["file"]],
      ["disk", ["qcow2", "file", "block"]],
    ]);
  });
});

describe("the graph of a format", () => {
  const layers = {
    image: { file: { path: "disk.qcow2", sizeMax: "20GiB" } },
    disk: diskOf({ clusterSize: "128KiB" }).disk,
  };
  it("says how far a file may grow", () => {
    const spec = specOf(layers, { disk: { layer: "disk" } });
    expect(graphText(graphOfSpec(spec))).toMatchInlineSnapshot(`
      "s
      └─ disk (auto)
         └─ disk: qcow2, 1GiB, create ifBlank, cluster 128KiB, cache 32MiB
            └─ image: file, grows to 20GiB, disk.qcow2
      "
    `);
    const { table } = compile(spec, world());
    if (table === null) throw new Error("refused");
    expect(graphText(graphOfTable(table))).toMatchInlineSnapshot(`
      "s
      └─ disk (ublk)
         └─ disk: qcow2, 1GiB, create ifBlank, cluster 128KiB, cache 32MiB  [ublk device disk]
            └─ image: file, grows to 20GiB, disk.qcow2
      "
    `);
  });
});
