/** What the addon says of files: images, blank ones, others; and whatever bytes an image has, an answer. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { loadNative, type NativeError } from "../../src/native.js";

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), "image-header-"));
const path = (name: string) => join(folder, name);
const qemuImg = (...args: string[]) => execFileSync("qemu-img", args, { stdio: "pipe" });
const create = (name: string, options: string, ...more: string[]) =>
  qemuImg("create", "-q", "-f", "qcow2", "-o", options, ...more, path(name), "1M");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the header of an image", () => {
  it("has every property", async () => {
    create(
      "full.qcow2",
      "extended_l2=on,cluster_size=128k,refcount_bits=64,lazy_refcounts=on,compression_type=zstd",
    );
    qemuImg("snapshot", "-c", "one", path("full.qcow2"));
    qemuImg("bitmap", "--add", path("full.qcow2"), "changes");
    qemuImg("rebase", "-u", "-b", "below.img", "-F", "raw", path("full.qcow2"));
    expect(await native.imageHeader(path("full.qcow2"))).toEqual({
      kind: "qcow2",
      sizeBytes: 1 << 20,
      version: 3,
      clusterBytes: 128 << 10,
      refcountBits: 64,
      extendedL2: true,
      compression: "zstd",
      backing: { name: "below.img", format: "raw" },
      dataFile: null,
      dataFileRaw: false,
      snapshots: 1,
      bitmaps: 1,
      dirty: false,
      corrupt: false,
      lazyRefcounts: true,
    });
  });

  it("names a data file, opens none, and has the marks of what is wrong", async () => {
    create("split.qcow2", `data_file=${path("data.raw")},data_file_raw=on`);
    rmSync(path("data.raw"));
    const header = { dataFile: path("data.raw"), dataFileRaw: true, backing: null };
    expect(await native.imageHeader(path("split.qcow2"))).toMatchObject(header);
    create("marked.qcow2", "lazy_refcounts=on");
    const bytes = readFileSync(path("marked.qcow2"));
    bytes.writeBigUInt64BE(3n, 72);
    writeFileSync(path("marked.qcow2"), bytes);
    expect(await native.imageHeader(path("marked.qcow2"))).toMatchObject({ dirty: true, corrupt: true });
  });

  it("is told from blank files and from others, at both ends", async () => {
    const kind = async (bytes: number, at?: number) => {
      writeFileSync(path("file"), "");
      truncateSync(path("file"), bytes);
      if (at !== undefined) writeFileSync(path("file"), "x", { flag: "r+" });
      return (await native.imageHeader(path("file"))).kind;
    };
    expect(await kind(0)).toBe("blank");
    expect(await kind(100)).toBe("blank");
    expect(await kind(5 << 20)).toBe("blank");
    expect(await kind(5 << 20, 0)).toBe("other");
    writeFileSync(path("end"), "");
    truncateSync(path("end"), 5 << 20);
    writeFileSync(path("end"), "x", { flag: "a" });
    expect(await native.imageHeader(path("end"))).toEqual({ kind: "other" });
  });

  it.each([
    ["absent", "ENOENT", "stat"],
    ["", "EISDIR", "open"],
    ["pipe", "ENOTBLK", "open"],
    ["nul\0", "EINVAL", "open"],
  ])("rejects for %j with %s", async (name, code, op) => {
    if (name === "pipe") execFileSync("mkfifo", [path("pipe")]);
    const error = await native.imageHeader(path(name)).catch((thrown: NativeError) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ code, op });
  });
});

it("whatever an image has in its tables, there is an answer", async () => {
  const seeds = [
    "cluster_size=512",
    "cluster_size=512,refcount_bits=1",
    "cluster_size=16k,extended_l2=on",
  ].map((options, index) => {
    const name = `seed-${index}.qcow2`;
    create(name, options);
    qemuImg("bitmap", "--add", path(name), "changes");
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write -P 1 0 64k", path(name)], { stdio: "pipe" });
    if (index !== 1) qemuImg("snapshot", "-c", "one", path(name));
    return readFileSync(path(name));
  });
  const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
  const broken = fc.record({ seed: fc.nat(2), changes: fc.array(change, { minLength: 1, maxLength: 6 }) });
  let opened = 0;
  for (const { seed, changes } of fc.sample(broken, { numRuns: 300, seed: 1 })) {
    const bytes = Buffer.from(seeds[seed] ?? "");
    // Two thirds of them in the header and the tables behind it.
    for (const { at, byte } of changes) bytes[at % (at % 3 === 0 ? bytes.length : 4096)] = byte;
    writeFileSync(path("broken.qcow2"), bytes);
    const { handle, header } = await native.imageOpen(path("broken.qcow2"));
    try {
      if (header.kind !== "qcow2") continue;
      opened++;
      await native.imageDetails(handle);
      const { corruptions, leaks, findings } = await native.imageCheck(handle, new Int32Array(1));
      expect(findings.length).toBe(Math.min(1000, corruptions + leaks));
      const { runs } = await native.imageMap(handle, 0, new Int32Array(1));
      expect(
        runs.every(({ start }, i) => start === runs.slice(0, i).reduce((end, run) => end + run.length, 0)),
      ).toBe(true);
    } finally {
      native.imageClose(handle);
    }
    expect(() => native.imageDetails(handle)).toThrow("an open qcow2 image was expected");
  }
  expect(opened).toBeGreaterThan(50);
});
