/**
 * Images made smaller: by the library, judged by QEMU, and by the command. The disk and the snapshots stay what they were; the
 * file becomes as short as it can be, and a second time there is nothing to do.
 */
import { spawn } from "node:child_process";
import { copyFileSync, statSync, writeFileSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { CLI, cli } from "../cli/harness.js";
import { MIB, outcome, qemuImg, useImages } from "./images.ts";

const { path, create, io, numbered } = useImages();

const compact = (name: string) => cli(["image", "compact", path(name), "-o", "json"]);

/** What it has done. */
async function compacted(name: string) {
  const { status, stdout, stderr } = await compact(name);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout);
}

async function isWhole(name: string) {
  const { stdout, status } = await outcome("qemu-img", ["check", "--output=json", path(name)]);
  expect(status, stdout).toBe(0);
  return JSON.parse(stdout);
}
const raw = async (name: string, snapshot?: string) => {
  const which = snapshot === undefined ? [] : ["-l", `snapshot.name=${snapshot}`];
  await qemuImg("convert", "-O", "raw", ...which, path(name), path("shown.raw"));
  return readFile(path("shown.raw"));
};
const tags = async (name: string): Promise<string[]> => {
  const { snapshots = [] } = JSON.parse(await qemuImg("info", "--output=json", path(name)));
  return snapshots.map(({ name }: { name: string }) => name);
};

/** Data here and there, zeros that are written, and a good deal that is discarded. */
const MIXED = [
  "write -P 1 0 8M",
  "write -P 0 8M 4M",
  "write -P 2 20M 6M",
  "write -P 3 40M 300k",
  "write -z 50M 2M",
  "write -P 4 60M 4M",
  "discard 0 6M",
  "discard 21M 1M",
];

const KINDS: Record<string, (name: string) => Promise<unknown>> = {
  ...Object.fromEntries(
    ["", "cluster_size=4k", "cluster_size=2M", "cluster_size=16k,extended_l2=on", "refcount_bits=1"].map(
      (options) => [
        options || "clusters of 64k",
        async (name: string) => [await create(name, options), await io(name, ...MIXED)],
      ],
    ),
  ),
  "many refcount blocks": async (name) => [
    await create(name, "cluster_size=512,refcount_bits=64", "8M"),
    await io(name, "write -P 1 0 3M", "write -P 2 5M 1M", "discard 0 2800k", "write -P 0 5M 500k"),
  ],
  "version 2": async (name) => [
    await create(name, "compat=0.10"),
    await io(name, "write -P 1 0 8M", "write -P 0 8M 4M", "write -P 2 30M 1M", "discard 0 6M"),
  ],
  "a backing file": async (name) => {
    await writeFile(path("base.raw"), Buffer.alloc(64 * MIB, 0x77));
    await create(name, "", "64M", "-b", path("base.raw"), "-F", "raw");
    await io(name, ...MIXED);
  },
  "a backing file, extended entries": async (name) => {
    await writeFile(path("base.raw"), Buffer.alloc(64 * MIB, 0x77));
    await create(name, "extended_l2=on,cluster_size=64k", "64M", "-b", path("base.raw"), "-F", "raw");
    await io(name, ...MIXED, "write -P 5 30M 2k", "write -P 0 32M 2k", "write -P 0 33M 64k");
  },
  snapshots: async (name) => {
    await create(name, "");
    await io(name, ...MIXED);
    await qemuImg("snapshot", "-c", "one", path(name));
    await io(name, "write -P 7 30M 3M", "write -P 0 36M 1M", "write -P 8 60M 100k");
    await qemuImg("snapshot", "-c", "two", path(name));
    await io(name, "write -P 9 62M 1M", "discard 20M 3M");
    await qemuImg("snapshot", "-d", "one", path(name));
  },
  "compressed clusters": async (name) => {
    await numbered(name, "cluster_size=4k", true, 2 * MIB);
    await io(name, "write -P 1 0 700k", "write -P 0 800k 300k", "discard 0 500k");
  },
  "preallocated metadata": async (name) => [
    await create(name, "preallocation=metadata", "16M"),
    await io(name, "write -P 1 10M 1M"),
  ],
  "nothing in it": (name) => create(name, ""),
};
/** Kinds of which all that is in use can move. */
const FIXED = new Set(["snapshots", "compressed clusters"]);

describe.each(Object.keys(KINDS))("an image with %s", (kind) => {
  const file = `${kind.replace(/\W+/g, "-")}.qcow2`;
  const shots = new Map<string, Buffer>();
  let before: Buffer;

  beforeAll(async () => {
    await KINDS[kind]?.(file);
    before = await raw(file);
    for (const tag of await tags(file)) shots.set(tag, await raw(file, tag));
  });

  it("becomes smaller, shows the same, and is small the second time", async () => {
    const was = statSync(path(file));
    const done = await compacted(file);
    const is = statSync(path(file));
    expect(done["file-length"]).toEqual({ before: was.size, after: is.size });
    expect(done["actual-size"]).toEqual({ before: was.blocks * 512, after: is.blocks * 512 });
    expect(is.size).toBeLessThanOrEqual(was.size);
    expect(is.blocks).toBeLessThanOrEqual(was.blocks);
    const { "image-end-offset": end } = await isWhole(file);
    expect(is.size).toBeLessThanOrEqual(end);
    expect((await raw(file)).equals(before)).toBe(true);
    for (const [tag, expected] of shots) expect((await raw(file, tag)).equals(expected), tag).toBe(true);

    const bytes = await readFile(path(file));
    expect(await compacted(file)).toMatchObject({
      "zero-bytes": 0,
      "moved-bytes": 0,
      "moved-table-bytes": 0,
      "leaked-clusters": 0,
    });
    expect((await readFile(path(file))).equals(bytes)).toBe(true);
  });

  it("is no longer than what is in use, but for a few clusters of tables", async () => {
    if (FIXED.has(kind)) return;
    const data = await readFile(path(file));
    const cluster = 1 << data.readUInt32BE(20);
    const l1 = Number(data.readBigUInt64BE(40));
    let used = 4 + Math.ceil((data.readUInt32BE(36) * 8) / cluster);
    for (let i = 0; i < data.readUInt32BE(36); i++) used += data.readBigUInt64BE(l1 + i * 8) === 0n ? 0 : 1;
    const { "allocated-clusters": allocated = 0 } = await isWhole(file);
    const blocks = Math.ceil(data.length / cluster / ((cluster * 8) / (1 << data.readUInt32BE(96))));
    const slack = kind === "version 2" ? 8 : 6 + 2 * blocks;
    expect(data.length / cluster).toBeLessThanOrEqual(used + allocated + slack);
  });

  it("is used by QEMU afterwards as before, and its snapshots are applied", async () => {
    for (const [tag, expected] of shots) {
      copyFileSync(path(file), path("other.qcow2"));
      await qemuImg("snapshot", "-a", tag, path("other.qcow2"));
      await isWhole("other.qcow2");
      expect((await raw("other.qcow2")).equals(expected), tag).toBe(true);
    }
    await io(file, "write -P 9 0 100k", "write -P 9 1M 10k", "read -P 9 0 100k");
    await isWhole(file);
  });
});

describe("what is given back", () => {
  it("leaked clusters, zeros, and holes that were never punched", async () => {
    await create("leaky.qcow2", "");
    await io("leaky.qcow2", "write -P 1 0 4M");
    const data = await readFile(path("leaky.qcow2"));
    const block = Number(data.readBigUInt64BE(Number(data.readBigUInt64BE(48))));
    const end = data.length / 65536;
    const leaky = Buffer.concat([data, Buffer.alloc(16 * 65536, 0xaa)]);
    for (let i = 0; i < 8; i++) leaky.writeUInt16BE(1, block + (end + i) * 2);
    await writeFile(path("leaky.qcow2"), leaky);
    expect(await compacted("leaky.qcow2")).toMatchObject({ "leaked-clusters": 8 });
    expect((await stat(path("leaky.qcow2"))).size).toBe(data.length);
    await isWhole("leaky.qcow2");
  });

  it("bitmaps stay what they are, and to be relied upon", async () => {
    await create("bitmaps.qcow2", "");
    await qemuImg("bitmap", "--add", path("bitmaps.qcow2"), "changes");
    await io("bitmaps.qcow2", ...MIXED);
    const known = async () => {
      const info = JSON.parse(await qemuImg("info", "--output=json", path("bitmaps.qcow2")));
      return info["format-specific"].data.bitmaps;
    };
    const before = await known();
    await compacted("bitmaps.qcow2");
    await isWhole("bitmaps.qcow2");
    expect(await known()).toEqual(before);
  });
});

describe("what is refused, and left as it is", () => {
  const refused = async (name: string, said: RegExp, args: string[] = []) => {
    const before = await readFile(path(name));
    const { status, stdout, stderr } = await cli(["image", "compact", path(name), ...args]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(said);
    expect(stderr).toMatch(/^ {2}cure: /m);
    expect((await readFile(path(name))).equals(before)).toBe(true);
  };
  const changed = async (name: string, change: (data: Buffer) => void) => {
    await create(name, "", "4M");
    await io(name, "write -P 1 0 1M");
    const data = await readFile(path(name));
    change(data);
    await writeFile(path(name), data);
  };

  it("an image that is marked as corrupt, or contradicts itself", async () => {
    await changed("marked.qcow2", (data) => data.writeBigUInt64BE(2n, 72));
    await refused("marked.qcow2", /marked as corrupt \[image-corrupt\]/);
    await changed("twice.qcow2", (data) => {
      const table = Number(data.readBigUInt64BE(Number(data.readBigUInt64BE(40))) & 0xfffffffffffe00n);
      data.writeBigUInt64BE(BigInt(table) | (1n << 63n), table);
    });
    await refused("twice.qcow2", /\[image-corrupt\]/);
  });

  it("one with its data in another file, what is no image, and --force-share", async () => {
    await create("data.qcow2", `data_file=${path("data.raw")}`, "4M");
    await refused("data.qcow2", /its data in another file, where nothing can be moved \[image-refused\]/);
    writeFileSync(path("other.img"), Buffer.alloc(MIB, "other"));
    await refused("other.img", /is no qcow2 image \[not-an-image\]/);
    await refused("other.img", /neither checked nor compacted by others/, ["-U"]);
  });

  it("one that somebody uses, who goes on", async () => {
    await create("busy.qcow2", "", "4M");
    const qemu = spawn("qemu-io", ["-f", "qcow2", path("busy.qcow2")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    try {
      await new Promise((ready) => qemu.stdout.once("data", ready));
      await refused("busy.qcow2", /is in use by a server or another program \[path-in-use\]/);
    } finally {
      qemu.stdin.end("write -P 1 0 64k\nquit\n");
      await new Promise((ended) => qemu.once("close", ended));
    }
    await isWhole("busy.qcow2");
  });
});

describe("killed in the middle of it", () => {
  it("leaves an image that shows the same, and goes on where it was", async () => {
    await create("killed.qcow2", "cluster_size=4k", "64M");
    await io("killed.qcow2", ...MIXED);
    const before = await raw("killed.qcow2");
    const { size } = statSync(path("killed.qcow2"));
    for (const changes of [1, 3, 9]) {
      const child = spawn(process.execPath, [CLI, "image", "compact", path("killed.qcow2")], {
        stdio: "ignore",
      });
      const ended = new Promise((done) => child.once("close", done));
      const stamp = () => statSync(path("killed.qcow2"), { bigint: true }).ctimeNs;
      let last = stamp();
      for (let seen = 0; seen < changes && child.exitCode === null; await setImmediate()) {
        const now = stamp();
        if (now !== last) seen++;
        last = now;
      }
      child.kill("SIGKILL");
      await ended;
      const { stdout } = await outcome("qemu-img", ["check", "--output=json", path("killed.qcow2")]);
      expect(JSON.parse(stdout)).not.toHaveProperty("corruptions");
      expect((await raw("killed.qcow2")).equals(before)).toBe(true);
    }
    await compacted("killed.qcow2");
    await isWhole("killed.qcow2");
    expect((await raw("killed.qcow2")).equals(before)).toBe(true);
    expect(statSync(path("killed.qcow2")).size).toBeLessThan(size / 2 + 8 * MIB);
  });
});
