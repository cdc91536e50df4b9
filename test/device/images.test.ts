/** Preflight with images of QEMU's, through the addon: what is served, and what is refused before anything is touched. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../src/compile/compile.js";
import { preflight } from "../../src/reconcile/preflight/preflight.js";
import { checkDocument } from "../../src/spec/index.js";
import { Sandbox, stack } from "../reconcile/sandbox.js";

const MIB = 2 ** 20;

class Images extends Sandbox {
  qemuImg(...args: string[]): void {
    execFileSync("qemu-img", args, { cwd: this.data, encoding: "utf8" });
  }

  async look(options: object, more: object = {}) {
    const disk = { qcow2: { base: { file: { path: "disk.qcow2" } }, ...options } };
    const { spec, findings: wrong } = checkDocument(stack("s", { disk, ...more }, ["disk"]));
    if (spec === null) throw new Error(JSON.stringify(wrong));
    const { data: baseDir, paths } = this;
    const look = await preflight({ spec, baseDir, paths, uid: 0, stacks: [] });
    const { table, findings } = compile(spec, { media: look.media, host: { ublk: false, cpus: 1 } });
    return { table, said: [...look.findings, ...findings].map(({ code, message }) => `${code}: ${message}`) };
  }
}

describe("an image that qemu-img made", () => {
  it("is served as it is, and says the size of its disk", async () => {
    const images = new Images();
    images.qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", "disk.qcow2", "96M");
    const before = readFileSync(join(images.data, "disk.qcow2"));
    const { said, table } = await images.look({});
    expect(said).toEqual([]);
    expect(table?.devices[0]?.layers[0]).toMatchObject({
      sizeBytes: 96 * MIB,
      geometry: { ioOptBytes: 4096, discardGranularityBytes: 4096 },
    });
    expect(readFileSync(join(images.data, "disk.qcow2"))).toEqual(before);
  });

  it("has every property that is stated of it, or is refused by its name", async () => {
    const images = new Images();
    const made = "cluster_size=128k,refcount_bits=32,extended_l2=on,compression_type=zstd,lazy_refcounts=on";
    images.qemuImg("create", "-q", "-f", "qcow2", "-o", made, "disk.qcow2", "96M");
    const stated = {
      size: "96MiB",
      clusterSize: "128KiB",
      refcountBits: 32,
      version: 3,
      extendedL2: true,
      compression: "zstd",
      lazyRefcounts: true,
    };
    expect((await images.look(stated)).said).toEqual([]);
    images.qemuImg("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "disk.qcow2", "96M");
    expect((await images.look(stated)).said.map((text) => text.split(",")[0])).toEqual([
      'image-differs: the image "disk.qcow2" has version: 2',
      'image-differs: the image "disk.qcow2" has clusters: 64KiB',
      'image-differs: the image "disk.qcow2" has refcount bits: 16',
      'image-differs: the image "disk.qcow2" has extended L2 entries: false',
      'image-differs: the image "disk.qcow2" has compression: zlib',
      'image-differs: the image "disk.qcow2" has lazy refcounts: false',
    ]);
  });

  it("has the backing that it names, as what it takes it for", async () => {
    const images = new Images();
    images.qemuImg("create", "-q", "-f", "qcow2", "golden.qcow2", "96M");
    images.qemuImg("create", "-q", "-f", "qcow2", "-b", "golden.qcow2", "-F", "qcow2", "disk.qcow2");
    const golden = { qcow2: { base: { file: { path: "golden.qcow2" } } } };
    expect((await images.look({ backing: golden })).said).toEqual([]);
    expect((await images.look({})).said).toEqual([
      'image-differs: the image "disk.qcow2" has the backing "golden.qcow2", and "disk" names none',
    ]);
    images.qemuImg("create", "-q", "-f", "qcow2", "-o", "preallocation=full", "golden.qcow2", "96M");
    expect((await images.look({ backing: { file: { path: "golden.qcow2" } } })).said).toEqual([
      'image-differs: the image "disk.qcow2" takes its backing "golden.qcow2" for qcow2, and layer "disk.1" for raw',
      'image-differs: "golden.qcow2" holds a qcow2 image, and layer "disk.1" shows the image, not the disk in it',
    ]);
  });

  it("has the data file that it names", async () => {
    const images = new Images();
    images.qemuImg("create", "-q", "-f", "qcow2", "-o", "data_file=disk.data", "disk.qcow2", "96M");
    expect((await images.look({ dataFile: { file: { path: "disk.data" } } })).said).toEqual([]);
    expect((await images.look({ dataFile: { file: { path: "other.data" } } })).said).toEqual([
      'image-differs: the image "disk.qcow2" has the data file "disk.data", and "disk" names "other.data"',
    ]);
  });

  it("is refused where it is encrypted", async () => {
    const images = new Images();
    const secret = ["--object", "secret,id=s,data=abc"];
    const luks = ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"];
    images.qemuImg("create", "-q", ...secret, "-f", "qcow2", ...luks, "disk.qcow2", "1M");
    expect((await images.look({})).said).toEqual([
      expect.stringMatching(/^image-refused: the image "disk\.qcow2" cannot be served: .*LUKS/),
    ]);
  });
});

describe("what is no image", () => {
  it("is not written over", async () => {
    const images = new Images();
    writeFileSync(join(images.data, "disk.qcow2"), "a letter to somebody");
    expect((await images.look({ size: "1MiB" })).said).toEqual([
      'image-foreign: "disk.qcow2" holds no qcow2 image, and what it holds would be overwritten by one',
    ]);
    expect((await images.look({ size: "1MiB", create: "always", overwrite: true })).said).toEqual([]);
  });

  it("is blank where it is zeros", async () => {
    const images = new Images();
    images.qemuImg("create", "-q", "-f", "raw", "disk.qcow2", "8M");
    expect((await images.look({ size: "1MiB" })).said).toEqual([]);
    expect((await images.look({})).said).toEqual([
      'missing-key: "disk" has no size, and an image has to be made in "disk.qcow2"',
    ]);
  });
});
