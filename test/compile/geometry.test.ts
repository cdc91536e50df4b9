import { describe, expect, it } from "vitest";
import type { Media } from "../../src/compile/media.js";
import type { Geometry } from "../../src/compile/table.js";
import { lcmNotZero, stackGeometry } from "../../src/layers/geometry.js";
import type { StackSpec } from "../../src/spec/stack-spec.js";
import {
  block,
  disk,
  file,
  findingsOf,
  KIB,
  linear,
  MIB,
  memory,
  mirror,
  nothing,
  stack,
  stripe,
  tableOf,
  world,
} from "./build.js";

const geometryOf = (spec: StackSpec, media: Record<string, Media> = {}): Geometry | undefined =>
  tableOf(spec, world(media)).devices[0]?.layers[0]?.geometry;

const base: Geometry = {
  logicalBlockBytes: 512,
  physicalBlockBytes: 4096,
  ioMinBytes: 4096,
  ioOptBytes: 0,
  discardGranularityBytes: 4096,
  maxDiscardBytes: 1 << 30,
  maxWriteZeroesBytes: 1 << 30,
  volatileCache: true,
  fua: true,
  rotational: false,
};
const stacked = (...parts: Partial<Geometry>[]) => stackGeometry(parts.map((part) => ({ ...base, ...part })));

// The expected values are those of the kernel's blk_stack_limits() for the same pairs of limits.
describe("limits stack as the kernel stacks them", () => {
  it.each<[string, Partial<Geometry>, Partial<Geometry>, Partial<Geometry>]>([
    [
      "larger logical block",
      { logicalBlockBytes: 512 },
      { logicalBlockBytes: 4096 },
      { logicalBlockBytes: 4096 },
    ],
    [
      "larger physical block",
      { physicalBlockBytes: 4096 },
      { physicalBlockBytes: 16384, ioMinBytes: 16384 },
      { physicalBlockBytes: 16384, ioMinBytes: 16384 },
    ],
    ["larger io_min", { ioMinBytes: 65536 }, { ioMinBytes: 8192 }, { ioMinBytes: 65536 }],
    ["lcm of io_opt", { ioOptBytes: 128 * KIB }, { ioOptBytes: 192 * KIB }, { ioOptBytes: 384 * KIB }],
    ["the one io_opt", { ioOptBytes: 0 }, { ioOptBytes: 192 * KIB }, { ioOptBytes: 192 * KIB }],
    [
      "larger discard granularity",
      {},
      { discardGranularityBytes: 65536 },
      { discardGranularityBytes: 65536 },
    ],
    ["smaller discard", { maxDiscardBytes: 65536 }, {}, { maxDiscardBytes: 65536 }],
    [
      "no discard where one cannot",
      { maxDiscardBytes: 0, discardGranularityBytes: 0 },
      {},
      { maxDiscardBytes: 0, discardGranularityBytes: 0 },
    ],
    ["no write zeroes where one cannot", { maxWriteZeroesBytes: 0 }, {}, { maxWriteZeroesBytes: 0 }],
    ["any volatile cache", { volatileCache: false, fua: false }, {}, { volatileCache: true, fua: true }],
    ["no FUA where a cache has none", { fua: false }, {}, { fua: false }],
    ["rotational when any is", { rotational: true }, {}, { rotational: true }],
  ])("%s", (_, a, b, expected) => {
    expect(stacked(a, b).geometry).toMatchObject(expected);
    expect(stacked(b, a).geometry).toMatchObject(expected);
    expect(stacked(a, b).misfits).toEqual([]);
  });

  it("gives up an io_opt that is not a multiple of the physical block", () => {
    const result = stacked({ ioOptBytes: 4096 * 3 }, { physicalBlockBytes: 65536, ioMinBytes: 65536 });
    expect(result.geometry.ioOptBytes).toBe(0);
    expect(result.misfits).toEqual(["ioOptBytes"]);
  });

  it("gives up an io_min that is not a multiple of the physical block", () => {
    const result = stacked({ ioMinBytes: 12288 }, { physicalBlockBytes: 8192, ioMinBytes: 8192 });
    expect(result.geometry.ioMinBytes).toBe(8192);
    expect(result.misfits).toEqual(["ioMinBytes"]);
  });

  it("has no preference where the lcm leaves 32 bits", () => {
    expect(lcmNotZero(2 ** 31 - 1, 2 ** 31)).toBe(0);
    expect(lcmNotZero(0, 0)).toBe(0);
    expect(lcmNotZero(4096, 6144)).toBe(12288);
  });
});

describe("leaves", () => {
  it("show the media's limits", () => {
    const media = disk(MIB, { logicalBlockBytes: 4096, rotational: true, ioOptBytes: 65536 });
    expect(geometryOf(stack({ d: block("/dev/x") }, { data: "d" }), { d: media })).toEqual({
      ...base,
      logicalBlockBytes: 4096,
      ioOptBytes: 65536,
      rotational: true,
    });
  });

  it("are as large as their media when the file does not say", () => {
    const spec = stack({ d: file(null) }, { data: "d" });
    expect(tableOf(spec, world({ d: disk(3 * MIB) })).devices[0]?.layers[0]?.sizeBytes).toBe(3 * MIB);
  });

  it("memory has no cache to flush, null neither", () => {
    for (const leaf of [memory(MIB), nothing(MIB)]) {
      expect(geometryOf(stack({ d: leaf }, { data: "d" }))).toMatchObject({
        volatileCache: false,
        fua: false,
      });
    }
  });
});

describe("stripe", () => {
  it("prefers its chunk and its row, as dm-stripe does", () => {
    const spec = stack(
      { a: file(MIB), b: file(MIB), c: file(MIB), s: stripe(64 * KIB, "a", "b", "c") },
      { data: "s" },
    );
    expect(geometryOf(spec)).toMatchObject({ ioMinBytes: 64 * KIB, ioOptBytes: 192 * KIB });
  });
});

describe("findings", () => {
  const two = (layer: ReturnType<typeof linear>, a = file(MIB), b = file(MIB)) =>
    stack({ a, b, top: layer }, { data: "top" });

  it.each<[string, StackSpec, Record<string, Media>, string[]]>([
    [
      "unequal members of a stripe waste bytes",
      two(stripe(64 * KIB, "a", "b"), file(MIB), file(MIB + 68 * KIB)),
      {},
      ['warning unequal-members: layer "top" wastes 69632 bytes of its members'],
    ],
    [
      "a tail shorter than a chunk is wasted too",
      two(stripe(64 * KIB, "a", "b"), file(MIB + 4096), file(MIB + 4096)),
      {},
      ['warning unequal-members: layer "top" wastes 8192 bytes of its members'],
    ],
    [
      "unequal members of a mirror waste bytes",
      two(mirror("a", "b"), file(MIB), file(2 * MIB)),
      {},
      ['warning unequal-members: layer "top" wastes 1048576 bytes of its members'],
    ],
    ["unequal members of a linear waste none", two(linear("a", "b"), file(MIB), file(2 * MIB)), {}, []],
    [
      "a member smaller than a chunk",
      two(stripe(64 * KIB, "a", "b"), file(32 * KIB)),
      {},
      ['error size-too-small: member "a" of "top" has 32KiB, less than one chunk'],
    ],
    [
      "blocks that differ",
      two(mirror("a", "b"), file(MIB), file(MIB, { blockSize: 4096 })),
      {},
      [
        'warning block-size-mismatch: layer "top" has blocks of 4096 bytes because of member "b"; smaller: "a"',
      ],
    ],
    [
      "a linear member that ends inside a block of its neighbour",
      two(linear("a", "b"), file(MIB + 512), file(MIB, { blockSize: 4096 })),
      {},
      [
        'warning block-size-mismatch: layer "top" has blocks of 4096 bytes because of member "b"; smaller: "a"',
        `error graph-mismatch: member "a" of "top" has 1049088 bytes, which is not a multiple of the layer's 4096-byte blocks`,
      ],
    ],
    [
      "a member that cannot discard",
      two(mirror("a", "b")),
      { a: disk(MIB), b: disk(MIB, { maxDiscardBytes: 0, discardGranularityBytes: 0 }) },
      ['warning discard-lost: layer "top" cannot discard because member "b" cannot'],
    ],
    [
      "a chunk that is no multiple of the physical block",
      two(stripe(4 * KIB, "a", "b")),
      { a: disk(MIB), b: disk(MIB, { physicalBlockBytes: 16384, ioMinBytes: 16384 }) },
      [
        'warning chunk-misaligned: the 4KiB chunk of "top" is not a multiple of the physical block size of member "b", 16KiB',
      ],
    ],
    [
      "a chunk that is no multiple of the preferred request",
      two(stripe(4 * KIB, "a", "b")),
      { a: disk(MIB, { ioMinBytes: 65536 }), b: disk(MIB) },
      [
        'warning chunk-misaligned: the 4KiB chunk of "top" is not a multiple of the preferred request of member "a", 64KiB',
      ],
    ],
    [
      "preferences that do not fit",
      two(linear("a", "b")),
      { a: disk(MIB, { ioOptBytes: 12288 }), b: disk(MIB, { physicalBlockBytes: 65536, ioMinBytes: 65536 }) },
      [
        'warning block-size-mismatch: layer "top" gives up the preferred request for streaming of its members: they are not multiples of each other',
      ],
    ],
    [
      "half of a linear in memory",
      two(linear("a", "b"), file(MIB), memory(MIB)),
      {},
      ['warning volatile-member: layer "top" loses its content at a reboot because of member "b"'],
    ],
    ["half of a mirror in memory is fine", two(mirror("a", "b"), file(MIB), memory(MIB)), {}, []],
    [
      "more than 8 PiB",
      two(linear("a", "b"), file(2 ** 53 - 512), file(2 ** 53 - 512)),
      {},
      ['error size-too-large: layer "top" would be larger than 8 PiB'],
    ],
    [
      "a file that is absent and has no size",
      stack({ a: file(null) }, { data: "a" }),
      { a: disk(0, { exists: false }) },
      [
        'error file-without-size: file "a.img" of layer "a" does not exist, and no size says how to create it',
      ],
    ],
    [
      "a file that is absent and must not be created",
      stack({ a: file(MIB, { create: "never" }) }, { data: "a" }),
      { a: disk(0, { exists: false }) },
      ['error path-missing: file "a.img" of layer "a" does not exist, and create: never forbids to make it'],
    ],
    [
      "a file that is smaller than stated",
      stack({ a: file(2 * MIB) }, { data: "a" }),
      { a: disk(MIB) },
      ['error file-too-small: "a.img" has 1MiB, less than the 2MiB of layer "a"'],
    ],
    [
      "a file that is larger than stated",
      stack({ a: file(MIB) }, { data: "a" }),
      { a: disk(MIB + 512) },
      ['warning size-differs: "a.img" has 1049088 bytes; layer "a" leaves 512 bytes at its end unused'],
    ],
    [
      "a block device of another size",
      stack({ a: block("/dev/x", MIB) }, { data: "a" }),
      { a: disk(2 * MIB) },
      ['error size-differs: "/dev/x" has 2MiB; layer "a" leaves 1048576 bytes at its end unused'],
    ],
    [
      "a file of an odd length",
      stack({ a: file(null) }, { data: "a" }),
      { a: disk(1000) },
      [
        'error size-not-multiple: "a.img" has 1000 bytes, which is not a multiple of the 512-byte blocks of layer "a"',
      ],
    ],
    [
      "an empty file",
      stack({ a: file(null) }, { data: "a" }),
      { a: disk(0) },
      ['error size-too-small: "a.img" of layer "a" is empty'],
    ],
    [
      "direct IO that the blocks are too small for",
      stack({ a: file(MIB, { direct: "on" }) }, { data: "a" }),
      { a: disk(MIB, { logicalBlockBytes: 4096 }) },
      ['error direct-unsupported: direct IO on "a.img" needs blocks of 4096 bytes, and layer "a" has 512'],
    ],
    [
      "blocks larger than a page",
      stack({ a: block("/dev/x") }, { data: "a" }),
      { a: disk(MIB, { logicalBlockBytes: 16384, physicalBlockBytes: 16384, ioMinBytes: 16384 }) },
      ['error graph-mismatch: "/dev/x" has blocks of 16384 bytes, and layer "a" can show 4096 at most'],
    ],
    [
      "a block device that is not there",
      stack({ a: block("/dev/x") }, { data: "a" }),
      { a: disk(0, { exists: false }) },
      ['error path-missing: block device "/dev/x" of layer "a" does not exist'],
    ],
    [
      "one mistake below is not told again above",
      stack(
        { a: file(null), b: file(MIB), s: stripe(65536, "a", "b"), m: mirror("s", "c"), c: file(MIB) },
        { data: "m" },
      ),
      { a: disk(0) },
      ['error size-too-small: "a.img" of layer "a" is empty'],
    ],
  ])("%s", (_, spec, media, expected) => {
    expect(findingsOf(spec, world(media))).toEqual(expected);
  });

  it("of a validation that looks at nothing leave sizes open", async () => {
    const { ANY_WORLD, compile } = await import("../../src/compile/compile.js");
    const spec = stack({ a: file(null), b: file(MIB), s: stripe(65536, "a", "b") }, { data: "s" });
    expect(compile(spec, ANY_WORLD)).toEqual({ table: null, findings: [], unsized: ["a"] });
  });
});
