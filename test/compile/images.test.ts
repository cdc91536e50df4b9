/** What is said about images that are found where a format is to stand. */
import { describe, expect, it } from "vitest";
import type { ImageFacts } from "../../src/layers/image.js";
import { disk } from "./build.js";
import { compiled, diskOf, GIB, image, qcow2, said } from "./format-stacks.js";

describe("an image that is there", () => {
  const judged = (options: object, found: ImageFacts, base: object = image) =>
    said(
      compiled(diskOf(options, base), {
        image: disk(2 ** 20, { image: found }),
        golden: disk(GIB, { identity: "file:golden" }),
      }),
    );
  const named = (name: string, format: string | null = "raw", identity: string | null = "file:golden") => ({
    name,
    format,
    identity,
  });

  it.each<[string, object, ImageFacts, string[]]>([
    ["as stated", { clusterSize: "64KiB", refcountBits: 16, version: 3, compression: "zlib" }, qcow2(), []],
    [
      "with other clusters",
      { clusterSize: "4KiB" },
      qcow2(),
      [
        'error image-differs qcow2.clusterSize: the image "disk.qcow2" has clusters: 64KiB, and "disk" says 4KiB',
      ],
    ],
    [
      "with everything else",
      {
        refcountBits: 8,
        version: 3,
        extendedL2: true,
        compression: "zstd",
        lazyRefcounts: true,
        preallocation: "full",
      },
      qcow2({ version: 2 }),
      ["version", "refcountBits", "extendedL2", "compression", "lazyRefcounts"].map((option) =>
        expect.stringContaining(`error image-differs qcow2.${option}: the image "disk.qcow2" has `),
      ),
    ],
    [
      "larger than stated",
      {},
      qcow2({ sizeBytes: 2 * GIB }),
      [
        'error image-differs qcow2.size: the disk in "disk.qcow2" has 2GiB, and "disk" would cut it off at 1GiB',
      ],
    ],
    [
      "smaller than stated",
      {},
      qcow2({ sizeBytes: 2 ** 20 }),
      ['warning size-differs qcow2.size: the disk in "disk.qcow2" grows from 1MiB to 1GiB'],
    ],
    [
      "no image, but something",
      {},
      { kind: "other" },
      [
        'error image-foreign qcow2.base: "disk.qcow2" holds no qcow2 image, and what it holds would be overwritten by one',
      ],
    ],
    [
      "no image, and none is made",
      { create: "never" },
      { kind: "other" },
      ['error image-refused qcow2.base: "disk.qcow2" holds no qcow2 image'],
    ],
    ["no image, and it may be overwritten", { create: "always", overwrite: true }, { kind: "other" }, []],
    [
      "nothing, and none is made",
      { create: "never" },
      { kind: "blank" },
      [
        'error image-missing qcow2.create: there is no image in "disk.qcow2", and create: never forbids to make one',
      ],
    ],
    [
      "one that cannot be served",
      {},
      { kind: "refused", message: "it is encrypted with LUKS" },
      ['error image-refused qcow2.base: the image "disk.qcow2" cannot be served: it is encrypted with LUKS'],
    ],
    [
      "marked as corrupt",
      {},
      qcow2({ corrupt: true }),
      ['error image-corrupt qcow2.base: the image "disk.qcow2" is marked as corrupt'],
    ],
    [
      "with a backing that nobody names",
      {},
      qcow2({ backing: named("../golden.raw") }),
      [
        'error image-differs qcow2: the image "disk.qcow2" has the backing "../golden.raw", and "disk" names none',
      ],
    ],
    [
      "without the backing that is named",
      { backing: "golden" },
      qcow2(),
      ['error image-differs qcow2.backing: the image "disk.qcow2" has no backing, and "disk" names "golden"'],
    ],
    ["with the backing that is named", { backing: "golden" }, qcow2({ backing: named("golden.raw") }), []],
    ["with a backing of no format", { backing: "golden" }, qcow2({ backing: named("g", null) }), []],
    [
      "with another backing",
      { backing: "golden" },
      qcow2({ backing: named("silver.raw", "raw", "file:silver") }),
      [
        'error image-differs qcow2.backing: the image "disk.qcow2" has the backing "silver.raw", and "disk" names "golden.raw"',
      ],
    ],
    [
      "with a backing that is not there",
      { backing: "golden" },
      qcow2({ backing: named("gone.raw", "raw", null) }),
      [
        'error image-differs qcow2.backing: the image "disk.qcow2" has the backing "gone.raw", where nothing is, and "disk" names "golden.raw"',
      ],
    ],
    [
      "with a backing of another format",
      { backing: "golden" },
      qcow2({ backing: named("golden.raw", "qcow2") }),
      [
        'error image-differs qcow2.backing: the image "disk.qcow2" takes its backing "golden.raw" for qcow2, and layer "golden" for raw',
      ],
    ],
    [
      "with a backing in words of QEMU's",
      { backing: "golden" },
      qcow2({ backing: named('json:{"driver":"nbd"}', null, null) }),
      [
        'error image-differs qcow2.backing: the image "disk.qcow2" has the backing "json:{\\"driver\\":\\"nbd\\"}", which is no path of a file and is not followed',
      ],
    ],
    [
      "with the name of a layer",
      { backing: { linear: { members: [{ file: { path: "x.raw", size: "1GiB" } }] } } },
      qcow2({ backing: named("ublk-stack:disk.1", "raw", null) }),
      [],
    ],
    [
      "with the name of another layer",
      { backing: { linear: { members: [{ file: { path: "x.raw", size: "1GiB" } }] } } },
      qcow2({ backing: named("golden.raw") }),
      [
        'error image-differs qcow2.backing: the image "disk.qcow2" has the backing "golden.raw", and not layer "disk.1"',
      ],
    ],
    [
      "with a data file that nobody names",
      {},
      qcow2({ dataFile: { name: "", format: "raw", identity: null } }),
      [
        'error image-differs qcow2: the image "disk.qcow2" has a data file without a name, and "disk" names none',
      ],
    ],
    [
      "with a data file that it does not name",
      { dataFile: "golden" },
      qcow2({ dataFile: { name: "", format: "raw", identity: null } }),
      [],
    ],
    [
      "without a data file",
      { dataFile: "golden" },
      qcow2(),
      [
        'error image-differs qcow2.dataFile: the image "disk.qcow2" has no data file, and "disk" names "golden"',
      ],
    ],
  ])("%s", (_, options, found, expected) => {
    expect(judged(options, found)).toEqual(expected);
  });

  it("is not made, grown or refused for being corrupt where nobody writes", () => {
    const still = { ...image, readOnly: true };
    expect(judged({}, qcow2({ corrupt: true }), still)).toEqual([]);
    expect(judged({}, { kind: "blank" }, still)).toEqual([
      'error image-missing qcow2.base: there is no image in "disk.qcow2" yet, and nobody writes to "disk"',
    ]);
    expect(judged({}, qcow2({ sizeBytes: 2 ** 20 }), still)).toEqual([
      'error image-differs qcow2.size: the disk in "disk.qcow2" has 1MiB, and does not grow: nobody writes to "disk"',
    ]);
  });

  it("is not a backing by itself, without a word", () => {
    const layers = diskOf({ backing: "golden" });
    const seen = { golden: disk(GIB, { image: qcow2() }) };
    expect(said(compiled(layers, seen))).toEqual([
      'warning image-differs qcow2.backing: "golden.raw" holds a qcow2 image, and layer "golden" shows the image, not the disk in it',
    ]);
  });

  it("has clusters of whole blocks", () => {
    const large = { file: { path: "disk.qcow2", blockSize: 4096 } };
    expect(judged({}, qcow2({ clusterBytes: 512 }), large)).toEqual([
      'error image-refused qcow2.base: the image "disk.qcow2" has clusters of 512 bytes, less than a 4096-byte block of "disk"',
    ]);
  });

  it("is a backing by the path of its file, and as what it is", () => {
    const layers = {
      golden: { qcow2: { base: { file: { path: "golden.qcow2" } } } },
      disk: { qcow2: { base: image, size: "1GiB", backing: "golden" } },
    };
    const with_ = (format: string) =>
      said(
        compiled(layers, {
          "golden.0": disk(2 ** 20, { identity: "file:golden", image: qcow2() }),
          "disk.0": disk(2 ** 20, { image: qcow2({ backing: named("/srv/golden.qcow2", format) }) }),
        }),
      );
    expect(with_("qcow2")).toEqual([]);
    expect(with_("raw")).toEqual([
      'error image-differs qcow2.backing: the image "disk.qcow2" takes its backing "/srv/golden.qcow2" for raw, and layer "golden" for qcow2',
    ]);
  });
});
