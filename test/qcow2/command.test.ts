/**
 * `image info`, `check` and `map` against qemu-img's words about the same files: equal JSON where both say the same, and one
 * clear error for everything that is no image.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { CLI, cli, type Result } from "../cli/harness.js";
import { corpus } from "./corpus.ts";
import { MIB, outcome, qemuImg, useImages } from "./images.ts";

const images = useImages();
const { path, create, io } = images;
const CORPUS = corpus(images);
const image = (...args: string[]): Promise<Result> => cli(["image", ...args], { cwd: path("") });

/** It must succeed and say nothing else. */
async function json(...args: string[]) {
  const { status, stdout, stderr } = await image(...args, "-o", "json");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout);
}

/** Descriptors come and go while they are looked at. */
function readlinkIfThere(link: string): string | null {
  try {
    return readlinkSync(link);
  } catch {
    return null;
  }
}

const theirs = async (verb: string, name: string) =>
  JSON.parse(await qemuImg(verb, "--output=json", path(name)));

describe.each(Object.keys(CORPUS))("an image of qemu-img's: %s", (feature) => {
  const name = `${feature.replace(/\W+/g, "-")}.qcow2`;
  beforeAll(async () => {
    await CORPUS[feature]?.(name);
  });

  it("info says all that qemu-img info says", async () => {
    const {
      "in-use": inUse,
      "file-length": length,
      "snapshot-count": snapshots,
      "bitmap-count": bitmaps,
      ...said
    } = await json("info", path(name));
    const expected = await theirs("info", name);
    for (const snapshot of said.snapshots ?? []) delete snapshot["virtual-size"];
    expect(said).toEqual(expected);
    expect({ inUse, length, snapshots, bitmaps }).toEqual({
      inUse: false,
      length: readFileSync(path(name)).length,
      snapshots: expected.snapshots?.length ?? 0,
      bitmaps: expected["format-specific"].data.bitmaps?.length ?? 0,
    });
  });

  it("check counts what qemu-img check counts", async () => {
    const { findings, ...counts } = await json("check", path(name));
    expect(counts).toEqual(await theirs("check", name));
    expect(findings).toEqual([]);
  });

  it("map lists the runs that qemu-img map lists", async () => {
    interface Run {
      start: number;
      length: number;
      depth: number;
      compressed?: boolean;
      zero: boolean;
      data: boolean;
    }
    const ours: Run[] = await json("map", path(name));
    const expected: Run[] = await theirs("map", name);
    if (feature === "a backing file") {
      // It looks into the backing file: what lies there, or nowhere, is all one to us.
      const own = (runs: Run[]) => runs.filter(({ depth, data, zero }) => depth === 0 && (data || zero));
      const inside = own(expected).filter(({ start }) => start < 64 * MIB);
      expect(own(ours).map(({ compressed, ...run }) => run)).toEqual(inside);
      expect(ours.reduce((end, { start, length }) => (start === end ? end + length : -1), 0)).toBe(80 * MIB);
      return;
    }
    // Where clusters are preallocated, it asks the file system what is a hole.
    const asked = feature === "preallocated metadata";
    const runs = ours.map(({ compressed, ...run }) => (asked ? { ...run, zero: true } : run));
    const known = asked ? expected.map((run) => ({ ...run, zero: true })) : expected;
    expect(runs).toEqual(known);
    expect(ours.some(({ compressed }) => compressed)).toBe(feature.startsWith("compressed"));
  });
});

describe("for people", () => {
  it("info has what there is, and no word of an image's reaches the terminal as more than text", async () => {
    await create("plain.qcow2", "extended_l2=on", "10M");
    await qemuImg("snapshot", "-c", "be\u001bfore", path("plain.qcow2"));
    await qemuImg("bitmap", "--add", path("plain.qcow2"), "changes");
    await qemuImg("rebase", "-u", "-b", "base\u001b[31m.img", "-F", "raw", path("plain.qcow2"));
    const { status, stdout } = await image("info", "./plain.qcow2");
    expect(status).toBe(0);
    expect(
      stdout
        .replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, "DATE")
        .replaceAll(/\d+(\.\d)?KiB( \(\d+ bytes\))?\n/g, "SIZE\n"),
    ).toMatchInlineSnapshot(`
      "image            ./plain.qcow2
      format           qcow2, version 3 (compat 1.1)
      virtual size     10MiB (10485760 bytes)
      file length      SIZE
      disk size        SIZE
      cluster size     SIZE
      compression      zlib
      refcounts        16 bits
      extended L2      yes
      lazy refcounts   no
      state            clean
      in use           no
      backing file     base�[31m.img (raw)

      SNAPSHOT   TAG       SIZE    VM STATE   DATE                   VM CLOCK
      1          be�fore   10MiB   0B         DATE   00:00:00.000

      BITMAP    GRANULARITY   FLAGS
      changes   64KiB         auto
      "
    `);
  });

  it("map has a line for each run", async () => {
    await create("few.qcow2", "", "1M");
    await io("few.qcow2", "write -P 1 0 128k", "write -z 256k 64k");
    expect((await image("map", "few.qcow2")).stdout).toMatchInlineSnapshot(`
      "  START    LENGTH   KIND          OFFSET
            0    131072   data          327680
       131072    131072   unallocated
       262144     65536   zero
       327680    720896   unallocated
      "
    `);
    expect((await image("map", "few.qcow2", "-o", "yaml")).stdout).toContain(
      "- start: 262144\n  length: 65536\n  depth: 0\n  present: true\n  zero: true\n",
    );
    await create("none.qcow2", "", "0");
    expect((await image("map", "none.qcow2", "-o", "json")).stdout).toBe("[]\n");
    expect((await image("map", "none.qcow2", "-o", "yaml")).stdout).toBe("[]\n");
  });

  it("check says what is wrong, and how wrong, by its exit status", async () => {
    await create("whole.qcow2", "", "1M");
    await io("whole.qcow2", "write -P 1 0 128k");
    expect((await image("check", "whole.qcow2")).stdout).toMatchInlineSnapshot(`
      "no errors were found
      2 of 16 clusters allocated (12.5%), of these 0% fragmented, 0% compressed
      image ends at 458752
      "
    `);

    const data = readFileSync(path("whole.qcow2"));
    const block = Number(data.readBigUInt64BE(Number(data.readBigUInt64BE(48))));
    const end = Math.ceil(data.length / 65536);
    const leaky = Buffer.concat([data, Buffer.alloc(65536)]);
    leaky.writeUInt16BE(1, block + end * 2);
    writeFileSync(path("leaky.qcow2"), leaky);
    const corrupt = Buffer.from(leaky);
    corrupt.writeUInt16BE(0, block);
    writeFileSync(path("corrupt.qcow2"), corrupt);
    for (const [name, status] of [
      ["leaky.qcow2", 3],
      ["corrupt.qcow2", 2],
    ] as const) {
      expect((await outcome("qemu-img", ["check", path(name)])).status).toBe(status);
      expect((await image("check", name)).status).toBe(status);
      const { stdout } = await image("check", name, "-o", "json");
      const { findings, ...counts } = JSON.parse(stdout);
      expect(counts).toEqual({
        ...JSON.parse((await outcome("qemu-img", ["check", "--output=json", path(name)])).stdout),
        filename: name,
      });
      expect(findings).toHaveLength((counts.corruptions ?? 0) + (counts.leaks ?? 0));
    }
    expect((await image("check", "corrupt.qcow2")).stdout).toMatchInlineSnapshot(`
      "leak: the cluster at 458752 has refcount 1 and 0 references
      corruption: the cluster at 0 has refcount 0 and 1 references
      1 corruption, and 1 leaked cluster: what is read may be wrong, and writing makes it worse
      2 of 16 clusters allocated (12.5%), of these 0% fragmented, 0% compressed
      image ends at 524288
      "
    `);
    expect(readFileSync(path("corrupt.qcow2")).equals(corrupt)).toBe(true);
  });
});

describe("what is no image is refused with one clear word, and status 1", () => {
  beforeAll(async () => {
    writeFileSync(path("garbage.img"), Buffer.alloc(3 * MIB, "garbage"));
    writeFileSync(path("blank.img"), "");
    truncateSync(path("blank.img"), 3 * MIB);
    writeFileSync(path("empty.img"), "");
    mkdirSync(path("folder"));
    execFileSync("mkfifo", [path("pipe")]);
    const socket = createServer();
    await new Promise<void>((done) => socket.listen(path("socket"), done));
    await create("good.qcow2", "", "1M");
    writeFileSync(path("cut.qcow2"), readFileSync(path("good.qcow2")).subarray(0, 60));
    const luks = readFileSync(path("good.qcow2"));
    luks.writeUInt32BE(2, 32);
    writeFileSync(path("luks.qcow2"), luks);
    const future = readFileSync(path("good.qcow2"));
    future.writeBigUInt64BE(1n << 40n, 72);
    writeFileSync(path("future.qcow2"), future);
    return () => void socket.close();
  });

  it.each([
    ["absent.qcow2", "cannot open absent.qcow2: there is no such file [path-missing]"],
    ["./no/such", "cannot open ./no/such: there is no such file [path-missing]"],
    ["good.qcow2/x.y", "cannot open good.qcow2/x.y: a part of the path is no folder [path-missing]"],
    ["folder", "folder is a folder [not-a-file]"],
    ["pipe", "pipe is neither a regular file nor a block device [not-a-file]"],
    ["socket", "socket is neither a regular file nor a block device [not-a-file]"],
    ["/dev/zero", "/dev/zero is neither a regular file nor a block device [not-a-file]"],
    ["garbage.img", "garbage.img is no qcow2 image [not-an-image]"],
    ["blank.img", "blank.img is blank: there is no image in it [not-an-image]"],
    ["empty.img", "empty.img is blank: there is no image in it [not-an-image]"],
    ["cut.qcow2", "cut.qcow2 cannot be read: it is shorter than a header [image-refused]"],
    [
      "luks.qcow2",
      "luks.qcow2 cannot be read: it is encrypted (LUKS), which is not served yet [image-refused]",
    ],
    [
      "future.qcow2",
      "future.qcow2 cannot be read: it uses incompatible features that are not known here: bit 40 [image-refused]",
    ],
    ["nobody/disk", 'there is no file nobody/disk, and no stack "nobody" [stack-unknown]'],
  ])("%s", async (name, said) => {
    for (const verb of ["info", "check", "map"]) {
      const { status, stdout, stderr } = await image(verb, name, "-o", "json");
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
      expect(stderr.split("\n")[0]).toBe(`error: ${said}`);
      expect(stderr).toMatch(/^error: .*\n {2}cure: .*\n$/);
    }
  });

  it("bad usage, too: 2 would be a corrupt image", async () => {
    for (const args of [["frob", "x"], ["info"], ["check", "--frob", "x"], ["check", "-U", "x"], []]) {
      const { status, stdout, stderr } = await image(...args);
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
      expect(stderr).toContain("cure: `ublk-stack image --help`");
    }
  });

  it("an entry that contradicts the format, where it is met", async () => {
    const data = readFileSync(path("good.qcow2"));
    const l1 = Number(data.readBigUInt64BE(40));
    const bad = Buffer.concat([data, Buffer.alloc(Math.max(0, 6 * 65536 - data.length))]);
    bad.writeBigUInt64BE((1n << 63n) | BigInt(5 * 65536), l1);
    bad.writeBigUInt64BE((1n << 63n) | 512n, 5 * 65536);
    writeFileSync(path("bad.qcow2"), bad);
    const { status, stderr } = await image("map", "bad.qcow2");
    expect(status).toBe(1);
    expect(stderr).toContain(
      "an entry for the guest's bytes at 0 that contradicts the format [image-corrupt]",
    );
    expect((await image("check", "bad.qcow2")).status).toBe(2);
  });
});

describe("while QEMU writes to it", () => {
  it("info shows the header, and check and map refuse; --force-share looks all the same", async () => {
    await create("busy.qcow2", "", "1M");
    await qemuImg("snapshot", "-c", "one", path("busy.qcow2"));
    const qemu = spawn("qemu-io", ["-f", "qcow2", path("busy.qcow2")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    try {
      await new Promise((ready) => qemu.stdout.once("data", ready));
      for (const verb of ["check", "map"]) {
        const { status, stdout, stderr } = await image(verb, "busy.qcow2");
        expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
        expect(stderr).toContain("busy.qcow2 is being written to by a server or another program");
        expect(stderr).toContain("[path-in-use]");
      }
      const known = await json("info", "busy.qcow2");
      expect(known).toMatchObject({ "in-use": true, "snapshot-count": 1, "virtual-size": MIB });
      expect(known).not.toHaveProperty("snapshots");
      expect((await image("info", "busy.qcow2")).stdout).toMatch(/^snapshots +1, not listed while/m);
      expect((await json("info", "busy.qcow2", "-U")).snapshots).toHaveLength(1);
      expect(await json("map", "--force-share", "busy.qcow2")).toHaveLength(1);
    } finally {
      qemu.stdin.end("quit\n");
      await new Promise((ended) => qemu.once("close", ended));
    }
    expect((await json("info", "busy.qcow2")).snapshots).toHaveLength(1);
  });
});

describe("a large image", () => {
  it("is mapped part by part, and no run is lost or cut where parts meet", async () => {
    await create("many.qcow2", "cluster_size=512", "96M");
    // Every other cluster: more runs than one answer of the addon has.
    const data = Buffer.alloc(96 * MIB);
    for (let at = 0; at < data.length; at += 1024) data[at] = 1;
    writeFileSync(path("many.raw"), data);
    await qemuImg(
      "convert",
      "-S",
      "512",
      "-O",
      "qcow2",
      "-o",
      "cluster_size=512",
      path("many.raw"),
      path("many.qcow2"),
    );
    const runs: { start: number; length: number }[] = await json("map", "many.qcow2");
    expect(runs).toHaveLength((96 * MIB) / 512);
    expect(runs.every(({ start, length }, index) => start === index * 512 && length === 512)).toBe(true);
  });

  it("is let go of at once by Ctrl-C", async () => {
    // As many L2 tables as fit, all of them one and the same: days of work in a few megabytes.
    await create("endless.qcow2", "cluster_size=2M", "64T");
    await io("endless.qcow2", "write -z 0 2M");
    const data = readFileSync(path("endless.qcow2"));
    const l1 = Number(data.readBigUInt64BE(40));
    const entry = data.readBigUInt64BE(l1);
    for (let i = 0; i < data.readUInt32BE(36); i++) data.writeBigUInt64BE(entry, l1 + i * 8);
    writeFileSync(path("endless.qcow2"), data);
    const child = spawn(process.execPath, [CLI, "image", "check", path("endless.qcow2")], {
      stdio: "ignore",
    });
    const ended = new Promise((done) => child.once("close", done));
    const opened = () => {
      const fds = `/proc/${child.pid}/fd`;
      return readdirSync(fds).some((fd) => readlinkIfThere(join(fds, fd)) === path("endless.qcow2"));
    };
    while (child.exitCode === null && !opened()) await setImmediate();
    child.kill("SIGINT");
    expect(await ended).toBe(130);
  });
});
