/**
 * Snapshots that the qcow2 library takes, deletes and applies, and disks that it lets grow, judged by QEMU; and the same
 * of snapshots that are QEMU's.
 */
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ask, KIB, MIB, out, outcome, qemuImg, useTools } from "./images.ts";

const { path, create, io, numbered } = useTools();

const EINVAL = -22;
const ENOENT = -2;
const EEXIST = -17;
const EFBIG = -27;
const ENAMETOOLONG = -36;
const ENOTUNIQ = -76;
const ENOTSUP = -95;

/** What became of each command. */
async function edit(name: string, ...commands: string[]): Promise<number[]> {
  const { status, stdout, stderr } = await outcome(join(out, "image-edit"), [path(name), ...commands]);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}
const done = async (name: string, ...commands: string[]) =>
  expect(await edit(name, ...commands)).toEqual(commands.map(() => 0));

async function isWhole(name: string) {
  const { stdout, status } = await outcome("qemu-img", ["check", "--output=json", path(name)]);
  expect(status, stdout).toBe(0);
  expect(await ask("check", path(name))).toMatchObject({ corruptions: 0, leaks: 0 });
}
/** A raw copy of the disk as it is, or as a snapshot has it. */
async function raw(name: string, copy: string, snapshot?: string) {
  const which = snapshot === undefined ? [] : ["-l", `snapshot.name=${snapshot}`];
  await qemuImg("convert", "-O", "raw", ...which, path(name), path(copy));
  return readFile(path(copy));
}
async function shows(name: string, expected: Buffer, snapshot?: string) {
  const found = await raw(name, "shown.raw", snapshot);
  expect(found.length).toBe(expected.length);
  expect(found.equals(expected), `${name} ${snapshot ?? ""}`).toBe(true);
}
const tags = async (name: string) => {
  const { snapshots } = JSON.parse(await qemuImg("info", "--output=json", path(name)));
  return ((snapshots ?? []) as { id: string; name: string }[]).map(({ id, name }) => `${id} ${name}`);
};
const size = async (name: string) =>
  JSON.parse(await qemuImg("info", "--output=json", path(name)))["virtual-size"];

const WRITES = ["write -P 1 0 300k", "write -P 2 600k 20k"];
const plain = (options: string) => async (name: string) => {
  await create(name, options, "2M");
  await io(name, ...WRITES);
};
/** QEMU neither applies a snapshot nor resizes while there are bitmaps, although they are marked as out of date. */
async function withoutBitmaps(name: string) {
  const { data } = JSON.parse(await qemuImg("info", "--output=json", path(name)))["format-specific"];
  for (const { name: bitmap } of data.bitmaps ?? []) await qemuImg("bitmap", "--remove", path(name), bitmap);
}
const KINDS: Record<string, (name: string) => Promise<unknown>> = {
  "clusters of 64k": plain(""),
  "clusters of 512": plain("cluster_size=512"),
  "clusters of 4k": plain("cluster_size=4k"),
  "clusters of 2M": plain("cluster_size=2M"),
  "refcounts of 4 bits": plain("cluster_size=1k,refcount_bits=4"),
  "refcounts of 8 bits": plain("refcount_bits=8"),
  "refcounts of 64 bits": plain("cluster_size=512,refcount_bits=64"),
  "extended entries": plain("cluster_size=16k,extended_l2=on"),
  "version 2": plain("compat=0.10,cluster_size=4k"),
  "preallocated metadata": plain("preallocation=metadata,cluster_size=4k"),
  "compressed by zlib": (name) => numbered(name, "cluster_size=4k", true, 2 * MIB),
  "compressed by zstd": (name) => numbered(name, "cluster_size=4k,compression_type=zstd", true, 2 * MIB),
  "a backing file": async (name) => {
    await writeFile(path(`${name}.base`), Buffer.alloc(2 * MIB, 0x77));
    await create(name, "cluster_size=4k", "2M", "-b", path(`${name}.base`), "-F", "raw");
    await io(name, ...WRITES);
  },
  "nothing in it": (name) => create(name, "", "2M"),
  bitmaps: async (name) => {
    await plain("")(name);
    await qemuImg("bitmap", "--add", path(name), "changes");
  },
};

describe.each(Object.keys(KINDS))("snapshots of an image with %s", (kind) => {
  const file = `${kind.replace(/\W+/g, "-")}.qcow2`;
  const other = `other-${file}`;
  let one: Buffer;
  let two: Buffer;

  it("are taken as QEMU would, and the disk goes on changing", async () => {
    await KINDS[kind]?.(file);
    one = await raw(file, "one.raw");
    await done(file, "create one");
    await isWhole(file);
    await shows(file, one);
    await done(file, `write ${10 * KIB} 5120 5`, `write ${700 * KIB} ${100 * KIB} 6`, `zero 0 ${64 * KIB}`);
    await isWhole(file);
    two = await raw(file, "two.raw");
    expect(two.equals(one)).toBe(false);
    await done(file, "create two", `discard 0 ${1 * MIB}`, `write ${1 * MIB} 65536 7`);
    await isWhole(file);
    expect(await tags(file)).toEqual(["1 one", "2 two"]);
    await shows(file, one, "one");
    await shows(file, two, "two");
    const now = await raw(file, "now.raw");
    expect(now.subarray(MIB, MIB + 65536).equals(Buffer.alloc(65536, 7))).toBe(true);
  });

  it("are applied and deleted by QEMU", async () => {
    await copyFile(path(file), path(other));
    await withoutBitmaps(other);
    await qemuImg("snapshot", "-a", "one", path(other));
    await isWhole(other);
    await shows(other, one);
    await io(other, "write -P 9 0 100k", "write -P 9 1M 10k");
    await qemuImg("snapshot", "-d", "one", path(other));
    await isWhole(other);
    await shows(other, two, "two");
    await qemuImg("snapshot", "-a", "two", path(other));
    await qemuImg("snapshot", "-d", "two", path(other));
    await isWhole(other);
    await shows(other, two);
  });

  it("are applied and deleted by us", async () => {
    await copyFile(path(file), path(other));
    await done(other, "apply one");
    await isWhole(other);
    await shows(other, one);
    await done(other, "write 0 4096 9", "delete 1");
    await isWhole(other);
    await shows(other, two, "two");
    await done(other, "apply two", "delete two");
    await isWhole(other);
    await shows(other, two);
    expect(await tags(other)).toEqual([]);
    await io(other, "write -P 9 0 300k", "read -P 9 0 300k");
    await isWhole(other);
  });

  it("of QEMU's are applied and deleted by us, and have the same next id", async () => {
    await KINDS[kind]?.(other);
    one = await raw(other, "one.raw");
    await qemuImg("snapshot", "-c", "one", path(other));
    await io(other, "write -P 5 10k 5k", "write -P 6 700k 100k");
    two = await raw(other, "two.raw");
    await qemuImg("snapshot", "-c", "two", path(other));
    await io(other, "write -P 7 1M 64k");
    await done(other, "write 2048 512 8", "delete one");
    await isWhole(other);
    await shows(other, two, "two");
    await done(other, "apply two", "write 4096 512 9", "create three");
    await isWhole(other);
    await shows(other, two, "two");
    expect(await tags(other)).toEqual(["2 two", "3 three"]);
    await qemuImg("snapshot", "-c", "four", path(other));
    await isWhole(other);
    expect(await tags(other)).toEqual(["2 two", "3 three", "4 four"]);
    await done(other, "delete 2", "delete 3", "delete 4");
    await isWhole(other);
    const { leaks } = await ask("check", path(other));
    expect(leaks).toBe(0);
  });
});

describe("what cannot be", () => {
  it("refcounts that are too narrow leave the image as it was", async () => {
    await create("bit.qcow2", "refcount_bits=1", "2M");
    await io("bit.qcow2", ...WRITES);
    const before = await readFile(path("bit.qcow2"));
    expect(await edit("bit.qcow2", "create one")).toEqual([EFBIG]);
    expect((await readFile(path("bit.qcow2"))).equals(before)).toBe(true);
    await create("two-bits.qcow2", "refcount_bits=2", "2M");
    await io("two-bits.qcow2", ...WRITES);
    expect(await edit("two-bits.qcow2", "create a", "create b", "create c", "write 0 512 1")).toEqual([
      0,
      0,
      EFBIG,
      0,
    ]);
    await isWhole("two-bits.qcow2");
    expect(await tags("two-bits.qcow2")).toEqual(["1 a", "2 b"]);
  });

  it("tags that are there already, empty, too long, or mean two", async () => {
    await create("tags.qcow2", "", "2M");
    const long = "t".repeat(256);
    const fits = "t".repeat(255);
    expect(
      await edit("tags.qcow2", "create a", "create a", "create", `create ${long}`, `create ${fits}`),
    ).toEqual([0, EEXIST, EINVAL, ENAMETOOLONG, 0]);
    expect(await edit("tags.qcow2", "delete b", "apply b", "create 1")).toEqual([ENOENT, ENOENT, 0]);
    expect(await edit("tags.qcow2", "delete 1", "delete 3", "apply 1", "delete a")).toEqual([
      ENOTUNIQ,
      0,
      0,
      0,
    ]);
    await isWhole("tags.qcow2");
    expect(await tags("tags.qcow2")).toEqual([`2 ${fits}`]);
    await qemuImg("snapshot", "-d", fits, path("tags.qcow2"));
  });
});

describe("a disk that grows", () => {
  const grown = async (name: string, to: number) => {
    const before = await raw(name, "before.raw");
    await done(name, `resize ${to}`);
    await isWhole(name);
    expect(await size(name)).toBe(to);
    await shows(name, Buffer.concat([before, Buffer.alloc(to - before.length)]));
  };

  it.each(Object.keys(KINDS).filter((kind) => kind !== "compressed by zstd"))("%s", async (kind) => {
    const file = `grows-${kind.replace(/\W+/g, "-")}.qcow2`;
    await KINDS[kind]?.(file);
    await grown(file, 2 * MIB + 512);
    await grown(file, 3 * MIB + 1024);
    await grown(file, 40 * MIB);
    await done(file, `write ${40 * MIB - 5120} 5120 4`, `write ${2 * MIB} 512 4`);
    await isWhole(file);
    await grown(file, 41 * MIB);
    await withoutBitmaps(file);
    await qemuImg("resize", path(file), "50M");
    await isWhole(file);
  });

  it.each([
    ["", 2 * MIB],
    ["cluster_size=16k,extended_l2=on", MIB + 512],
    ["compat=0.10,cluster_size=4k", MIB + 512],
    ["cluster_size=64k", MIB + 512],
    ["cluster_size=512", 1536],
  ])("shows nothing of a backing file that is longer: %s, %i", async (options, bytes) => {
    await writeFile(path("long.raw"), Buffer.alloc(5 * MIB, 0x55));
    await create("short.qcow2", options, String(bytes), "-b", path("long.raw"), "-F", "raw");
    await grown("short.qcow2", 3 * MIB);
    await create("short.qcow2", options, String(bytes), "-b", path("long.raw"), "-F", "raw");
    await io("short.qcow2", `write -P 1 ${bytes - 512} 512`);
    await grown("short.qcow2", bytes + 512);
    await grown("short.qcow2", 6 * MIB);
  });

  it("does not show what was there before QEMU made it smaller", async () => {
    await create("smaller.qcow2", "", "2M");
    await io("smaller.qcow2", "write -P 1 0 2M");
    await qemuImg("resize", "--shrink", path("smaller.qcow2"), String(MIB + 512));
    await grown("smaller.qcow2", 2 * MIB);
  });

  it("keeps its snapshots as large as they were, and is that large again", async () => {
    await create("sizes.qcow2", "cluster_size=4k", "2M");
    await io("sizes.qcow2", ...WRITES);
    const one = await raw("sizes.qcow2", "one.raw");
    await done("sizes.qcow2", "create one");
    await grown("sizes.qcow2", 5 * MIB);
    await done("sizes.qcow2", `write ${4 * MIB} 512 3`);
    const two = await raw("sizes.qcow2", "two.raw");
    await done("sizes.qcow2", "create two");
    await copyFile(path("sizes.qcow2"), path("theirs.qcow2"));
    for (const [tag, expected] of [["one", one] as const, ["two", two] as const]) {
      await done("sizes.qcow2", `apply ${tag}`);
      await qemuImg("snapshot", "-a", tag, path("theirs.qcow2"));
      await isWhole("sizes.qcow2");
      await isWhole("theirs.qcow2");
      await shows("sizes.qcow2", expected);
      await shows("theirs.qcow2", expected);
    }
    await done("sizes.qcow2", "apply one");
    expect(
      await edit("sizes.qcow2", `write ${4 * MIB} 512 3`, `zero ${2 * MIB} 512`, `discard 0 ${3 * MIB}`),
    ).toEqual([EINVAL, EINVAL, EINVAL]);
  });

  it("is refused where it cannot be", async () => {
    await create("refused.qcow2", "cluster_size=512", "2M");
    expect(await edit("refused.qcow2", `resize ${MIB}`, "resize 2097153", `resize ${2 ** 38}`)).toEqual([
      ENOTSUP,
      EINVAL,
      EFBIG,
    ]);
    await create("old.qcow2", "compat=0.10", "2M");
    expect(await edit("old.qcow2", "create a", `resize ${3 * MIB}`, "delete a", `resize ${3 * MIB}`)).toEqual(
      [0, ENOTSUP, 0, 0],
    );
    await isWhole("old.qcow2");
  });
});
