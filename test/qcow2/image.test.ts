/**
 * The library of the qcow2 format against QEMU: what qemu-img makes, with every feature of the format, is read as
 * qemu-img reads it; what is broken in an image is found where qemu-img finds it, and nowhere else.
 */
import { copyFile, mkdtemp, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { corpus } from "./corpus.ts";
import { ask, KIB, MIB, out, outcome, qemuImg, run, useTools } from "./images.ts";

const images = useTools();
const { path, create, io, numbered } = images;
const CORPUS = corpus(images);

const KINDS: Record<
  string,
  (run: { depth: number; zero: boolean; data: boolean; compressed?: boolean }) => boolean
> = {
  unallocated: ({ zero, data, depth }) => (zero && !data) || depth > 0,
  zero: ({ zero }) => zero,
  data: ({ data }) => data,
  compressed: ({ data }) => data,
};

describe.each(Object.keys(CORPUS))("an image of qemu-img's: %s", (feature) => {
  const name = `${feature.replace(/\W+/g, "-")}.qcow2`;
  beforeAll(async () => {
    await CORPUS[feature]?.(name);
  });

  it("is described as qemu-img describes it", async () => {
    const ours = await ask("info", path(name));
    const theirs = JSON.parse(await qemuImg("info", "--output=json", path(name)));
    const data = theirs["format-specific"].data;
    expect(ours).toMatchObject({
      version: data.compat === "0.10" ? 2 : 3,
      size: theirs["virtual-size"],
      cluster: theirs["cluster-size"],
      refcountBits: data["refcount-bits"] ?? 16,
      lazy: data["lazy-refcounts"] ?? false,
      extended: data["extended-l2"] ?? false,
      compression: data["compression-type"] ?? "zlib",
      backing: theirs["backing-filename"] ?? "",
      dataFile: data["data-file"] ?? "",
      dataFileRaw: data["data-file-raw"] ?? false,
      bitmaps: data.bitmaps?.length ?? 0,
      dirty: theirs["dirty-flag"],
      corrupt: data.corrupt ?? false,
    });
    const snapshots = (theirs.snapshots ?? []) as { id: string; name: string }[];
    expect(ours.snapshots.map((s: { id: string; name: string }) => [s.id, s.name])).toEqual(
      snapshots.map((s) => [s.id, s.name]),
    );
  });

  it("is as whole, and has as many clusters of each kind", async () => {
    const ours = await ask("check", path(name));
    const theirs = JSON.parse(await qemuImg("check", "--output=json", path(name)));
    expect(ours.findings).toEqual([]);
    expect(ours).toMatchObject({
      error: 0,
      corruptions: 0,
      leaks: 0,
      total: theirs["total-clusters"],
      allocated: theirs["allocated-clusters"] ?? 0,
      compressed: theirs["compressed-clusters"] ?? 0,
      fragmented: theirs["fragmented-clusters"] ?? 0,
      end: theirs["image-end-offset"],
    });
  });

  it("has its bytes where qemu-img finds them", async () => {
    const ours: { start: number; length: number; kind: string; host: number }[] = (
      await ask("map", path(name))
    ).runs;
    const theirs: {
      start: number;
      length: number;
      depth: number;
      zero: boolean;
      data: boolean;
      offset?: number;
    }[] = JSON.parse(await qemuImg("map", "--output=json", path(name)));
    const at = (offset: number) => ours.find((run) => offset < run.start + run.length);
    expect(ours.reduce((end, run) => (run.start === end ? end + run.length : -1), 0)).toBe(
      theirs.reduce((end, run) => end + run.length, 0),
    );
    // Both begin a new run wherever anything changes: so the beginnings of either are looked up in the other.
    for (const run of theirs) {
      const mine = at(run.start);
      expect(KINDS[mine?.kind ?? ""]?.(run), JSON.stringify([run, mine])).toBe(true);
      if (run.offset !== undefined && run.depth === 0 && mine?.kind === "data") {
        expect(mine.host + run.start - mine.start).toBe(run.offset);
      }
    }
    for (const mine of ours) {
      const run = theirs.find((run) => mine.start < run.start + run.length);
      expect(run && KINDS[mine.kind]?.(run), JSON.stringify([run, mine])).toBe(true);
    }
  });

  it("has the bytes that qemu-img finds", async () => {
    if (/backing|data file/.test(feature)) return; // of which more than one file has the bytes
    await qemuImg("convert", "-O", "raw", path(name), path("whole.raw"));
    const { stdout } = await run(join(out, "image-tool"), ["read", path(name)], {
      encoding: "buffer",
      maxBuffer: 256 * MIB,
    });
    expect(stdout.equals(await readFile(path("whole.raw")))).toBe(true);
  });

  it("says the same with its header written anew", async () => {
    const copy = `copy-${name}`;
    const said = async () => {
      const { filename, ...info } = JSON.parse(await qemuImg("info", "--output=json", path(copy)));
      delete info["actual-size"];
      return { filename, info, check: await qemuImg("check", "--output=json", path(copy)) };
    };
    await copyFile(path(name), path(copy));
    const before = await said();
    await run(join(out, "image-tool"), ["rewrite", path(copy)]);
    expect(await said()).toEqual(before);
  });
});

describe("a broken image", () => {
  /** What qemu-img refuses to check, too; and what it does not look at. */
  const word = (data: Buffer, at: number) => Number(data.readBigUInt64BE(at) & 0x00fffffffffffe00n);

  /** Where the tables are of which a word is to be changed. */
  function tables(data: Buffer): number[] {
    const roots = [Number(data.readBigUInt64BE(40)), Number(data.readBigUInt64BE(48))];
    const below = roots.flatMap((root) => Array.from({ length: 8 }, (_, i) => word(data, root + i * 8)));
    return [...roots, ...below.filter((at) => at > 0 && at < data.length)];
  }

  const change = fc.record({
    table: fc.nat(),
    entry: fc.oneof(fc.nat(3), fc.nat(63)),
    how: fc.oneof(
      fc.record({ flip: fc.nat(63) }),
      fc.constant({ clear: true }),
      fc.record({ cluster: fc.nat(80), flags: fc.constantFrom(0n, 1n, 1n << 63n) }),
    ),
  });

  const BASES = [
    "64k",
    "clusters of 4k",
    "refcounts of 1 bits",
    "extended entries, clusters of 16k",
    "version 2",
  ];

  it.each(BASES)("is found out where qemu-img does: %s", async (feature) => {
    const base = `base-${feature.replace(/\W+/g, "-")}.qcow2`;
    await CORPUS[feature]?.(base);
    const whole = await readFile(path(base));
    const cluster = 1 << whole.readUInt32BE(20);
    let corrupt = 0;
    for (const { table, entry, how } of fc.sample(change, { numRuns: 40, seed: 5 })) {
      const data = Buffer.from(whole);
      const places = tables(data);
      const at = (places[table % places.length] ?? 0) + entry * 8;
      const before = data.readBigUInt64BE(at);
      const after =
        "flip" in how
          ? before ^ (1n << BigInt(how.flip))
          : "clear" in how
            ? 0n
            : BigInt(how.cluster * cluster) | how.flags;
      data.writeBigUInt64BE(after, at);
      await writeFile(path("broken.qcow2"), data);
      const { stdout } = await outcome("qemu-img", ["check", "--output=json", path("broken.qcow2")]);
      const ours = await ask("check", path("broken.qcow2"));
      const said = JSON.stringify({ at, before: String(before), after: String(after), ours, stdout });
      if (stdout === "") {
        expect(ours.refused ?? ours.corruptions > 0, said).toBeTruthy();
        continue;
      }
      const theirs = JSON.parse(stdout);
      expect(ours.corruptions > 0, said).toBe((theirs.corruptions ?? 0) > 0);
      expect(ours.leaks, said).toBe(theirs.leaks ?? 0);
      if (ours.corruptions > 0) corrupt++;
    }
    expect(corrupt).toBeGreaterThan(5);
  });
});

describe("refused, and why", () => {
  async function refused(name: string, edit: (data: Buffer) => void, options = "") {
    await create("plain.qcow2", options, "1M");
    const data = await readFile(path("plain.qcow2"));
    edit(data);
    await writeFile(path(name), data);
    const answer = await ask("info", path(name));
    return [answer.refused, answer.text];
  }

  it("a feature that is not known, by the name that the image has for it", async () => {
    const [kind, text] = await refused("feature.qcow2", (data) => {
      data.writeBigUInt64BE((1n << 9n) | (1n << 40n), 72);
      // A row of qemu-img's table of names turned into one of the unknown feature.
      const names = data.indexOf(Buffer.from("dirty bit"));
      data.writeUInt8(9, names - 1);
      data.fill(0, names, names + 46);
      data.write("time travel", names);
    });
    expect(kind).toBe("unsupported");
    expect(text).toContain('"time travel" (bit 9), bit 40');
  });

  it("encryption, of either kind", async () => {
    const secret = "secret,id=s,data=x";
    const luks = ["-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"];
    await qemuImg("create", "-q", "--object", secret, "-f", "qcow2", ...luks, path("luks.qcow2"), "1M");
    expect((await ask("info", path("luks.qcow2"))).text).toContain("LUKS");
    const [, text] = await refused("aes.qcow2", (data) => data.writeUInt32BE(1, 32));
    expect(text).toContain("AES");
  });

  it.each<[string, RegExp, (data: Buffer) => void]>([
    ["another file", /does not begin as a qcow2 image/, (data) => data.write("QCOW", 0)],
    ["another version", /version 4/, (data) => data.writeUInt32BE(4, 4)],
    ["tiny clusters", /clusters of 2\^8 bytes/, (data) => data.writeUInt32BE(8, 20)],
    ["a short header", /a header of 96 bytes/, (data) => data.writeUInt32BE(96, 100)],
    ["a header of odd length", /a header of 109 bytes/, (data) => data.writeUInt32BE(109, 100)],
    ["wide refcounts", /2\^7 bits/, (data) => data.writeUInt32BE(7, 96)],
    ["an L1 table that is too small", /L1 table is too small/, (data) => data.writeUInt32BE(0, 36)],
    ["an L1 table for more than there is", /more than 32 MiB/, (data) => data.writeUInt32BE(0xffffffff, 36)],
    ["an L1 table beyond the end", /beyond the end/, (data) => data.writeBigUInt64BE(1n << 40n, 40)],
    ["an L1 table between clusters", /not at a cluster/, (data) => data.writeBigUInt64BE(512n, 40)],
    ["an L1 table in the header", /overlaps its header/, (data) => data.writeBigUInt64BE(0n, 40)],
    [
      "tables over one another",
      /overlaps its L1 table/,
      (data) => data.writeBigUInt64BE(data.readBigUInt64BE(40), 48),
    ],
    ["no refcount table", /no refcount table/, (data) => data.writeUInt32BE(0, 56)],
    ["a large refcount table", /more than 8 MiB/, (data) => data.writeUInt32BE(0x10000000, 56)],
    ["too many snapshots", /more than 65536/, (data) => data.writeUInt32BE(70_000, 60)],
    ["another compression", /contradicts its feature bit/, (data) => data.writeUInt8(1, 104)],
    [
      "a backing file's name outside",
      /name of its backing file/,
      (data) => {
        data.writeBigUInt64BE(65_530n, 8);
        data.writeUInt32BE(100, 16);
      },
    ],
    ["a long extension", /does not fit the first cluster/, (data) => data.writeUInt32BE(0x7fffffff, 116)],
    ["bitmaps that are not there", /there are none/, (data) => data.writeBigUInt64BE(1n, 88)],
    ["a raw data file that is not there", /there is none/, (data) => data.writeBigUInt64BE(2n, 88)],
    ["a disk beyond all measure", /cannot be/, (data) => data.writeBigUInt64BE(1n << 63n, 24)],
  ])("%s", async (name, said, edit) => {
    const [, text] = await refused(`${name.replace(/\W+/g, "-")}.qcow2`, edit);
    expect(text).toMatch(said);
  });

  it("an image that is cut off anywhere that qemu-img minds", async () => {
    await create("whole.qcow2", "cluster_size=512", "1M");
    await io("whole.qcow2", "write -P 1 0 8k");
    const whole = await readFile(path("whole.qcow2"));
    for (let length = 1; length < whole.length; length += 251) {
      await writeFile(path("cut.qcow2"), whole.subarray(0, length));
      const ours = await ask("check", path("cut.qcow2"));
      const { stdout } = await outcome("qemu-img", [
        "check",
        "-f",
        "qcow2",
        "--output=json",
        path("cut.qcow2"),
      ]);
      const theirs = stdout === "" ? { corruptions: 1 } : JSON.parse(stdout);
      const minds = (theirs.corruptions ?? 0) + theirs["check-errors"] > 0;
      if (minds) expect(ours.refused ?? ours.corruptions > 0, `cut at ${length}`).toBeTruthy();
    }
  });
});

describe("a new image", () => {
  const make = async (file: string, options: object) => {
    const { status, stdout, stderr } = await outcome(join(out, "image-tool"), [
      "create",
      path(file),
      JSON.stringify(options),
    ]);
    expect([0, 1], stderr).toContain(status);
    return JSON.parse(stdout);
  };
  const SIZE = 64 * MIB;

  const IMAGES: Record<string, { options: object; size?: number; is: object }> = {
    plain: { options: {}, is: { compat: "1.1", "refcount-bits": 16 } },
    "version 2": { options: { version: 2 }, is: { compat: "0.10" } },
    ...Object.fromEntries(
      [9, 10, 12, 21].map((clusterBits) => [
        `clusters of 2^${clusterBits}`,
        { options: { clusterBits }, is: {} },
      ]),
    ),
    ...Object.fromEntries(
      [0, 1, 2, 3, 5, 6].map((refcountOrder) => [
        `refcounts of 2^${refcountOrder} bits`,
        { options: { refcountOrder }, is: { "refcount-bits": 1 << refcountOrder } },
      ]),
    ),
    extended: { options: { extended: true, clusterBits: 17 }, is: { "extended-l2": true } },
    lazy: { options: { lazy: true }, is: { "lazy-refcounts": true } },
    zstd: { options: { zstd: true }, is: { "compression-type": "zstd" } },
    empty: { options: {}, size: 0, is: {} },
    "of no whole cluster": { options: {}, size: 3 * MIB + 512, is: {} },
    preallocated: { options: { preallocate: true, zero: true }, is: {} },
    "preallocated over old bytes": { options: { preallocate: true }, is: {} },
    "preallocated, extended": { options: { preallocate: true, extended: true }, is: {} },
    "preallocated, small clusters": {
      options: { preallocate: true, zero: true, clusterBits: 9, refcountOrder: 6 },
      is: { "refcount-bits": 64 },
    },
  };

  it.each(Object.entries(IMAGES))(
    "%s, is whole and all zeros, and takes writes",
    async (name, { options, size, is }) => {
      const file = `new-${name.replace(/\W+/g, "-")}.qcow2`;
      expect(await make(file, { size: size ?? SIZE, ...options })).toMatchObject({ error: 0 });
      const info = JSON.parse(await qemuImg("info", "--output=json", path(file)));
      expect(info["virtual-size"]).toBe(size ?? SIZE);
      expect(info["format-specific"].data).toMatchObject(is);
      expect(JSON.parse(await qemuImg("check", "--output=json", path(file)))).not.toHaveProperty(
        "corruptions",
      );
      expect(await ask("check", path(file))).toMatchObject({ corruptions: 0, leaks: 0 });
      await writeFile(path("zeros.raw"), "");
      await truncate(path("zeros.raw"), size ?? SIZE);
      await qemuImg("compare", path(file), path("zeros.raw"));
      if (size === 0) return;
      await io(
        file,
        "write -P 1 0 1M",
        "write -P 2 2M 100k",
        "read -P 1 0 1M",
        "read -P 2 2M 100k",
        "discard 0 64k",
      );
      const checked = JSON.parse(await qemuImg("check", "--output=json", path(file)));
      expect(checked).not.toHaveProperty("corruptions");
      expect(checked).not.toHaveProperty("leaks");
    },
  );

  it("has a backing file, and a data file, as it is told", async () => {
    await create("backing.qcow2", "", "1M");
    await io("backing.qcow2", "write -P 7 0 1M");
    await make("over.qcow2", { size: 2 * MIB, backing: path("backing.qcow2"), backingFormat: "qcow2" });
    await io("over.qcow2", "read -P 7 0 1M", "read -P 0 1M 1M", "write -P 8 512k 4k", "read -P 7 516k 508k");

    for (const dataFileRaw of [false, true]) {
      const file = `data-${dataFileRaw}.qcow2`;
      await writeFile(path(`${file}.data`), "");
      await truncate(path(`${file}.data`), 2 * MIB);
      await make(file, { size: 2 * MIB, dataFile: path(`${file}.data`), dataFileRaw });
      await io(file, "write -P 9 64k 64k", "read -P 9 64k 64k", "read -P 0 0 64k");
      expect(await qemuImg("check", path(file))).toContain("No errors");
      expect((await readFile(path(`${file}.data`))).subarray(65536, 65537)[0]).toBe(9);
    }
  });

  it.each([2, 3])("over old bytes shows none of them, version %i", async (version) => {
    await writeFile(path("old.qcow2"), Buffer.alloc(8 * MIB, 0xaa));
    await make("old.qcow2", { size: 4 * MIB, preallocate: true, version });
    await io("old.qcow2", "read -P 0 0 4M", "write -P 1 1k 1k", "read -P 0 0 1k", "read -P 0 2k 62k");
    expect(await qemuImg("check", path("old.qcow2"))).toContain("No errors");
  });

  it.each([
    [{ size: 100 }, /whole sectors/],
    [{ size: MIB, version: 4 }, /version 2 or 3/],
    [{ size: MIB, version: 2, zstd: true }, /version 2 of the format/],
    [{ size: MIB, clusterBits: 8 }, /512 bytes to 2 MiB/],
    [{ size: MIB, clusterBits: 12, extended: true }, /16 KiB/],
    [{ size: MIB, refcountOrder: 7 }, /1 to 64 bits/],
    [{ size: 2 ** 40, clusterBits: 9 }, /L1 table would have more than 32 MiB/],
    [{ size: 2 ** 53 - 512 }, /L1 table would have more than 32 MiB/],
    [{ size: MIB, dataFileRaw: true }, /no data file/],
    [{ size: MIB, dataFile: "d", dataFileRaw: true, backing: "b" }, /exclude one another/],
    [{ size: MIB, backing: "x".repeat(1024) }, /do not fit/],
    [{ size: MIB, clusterBits: 9, backing: "x".repeat(500) }, /do not fit/],
  ])("is refused for %j", async (options, said) => {
    const answer = await make("refused.qcow2", options);
    expect(answer.text).toMatch(said);
    expect((await stat(path("refused.qcow2"))).size).toBe(0);
  });
});

describe("an image under clients and power cuts", () => {
  const STATES = process.env.CRASH_STATES ?? "1500";
  const cut = async (...args: string[]) => {
    const { status, stdout, stderr } = await outcome(join(out, "image-crash"), ["--states", STATES, ...args]);
    expect(status, stderr.slice(-4000)).toBe(0);
    expect(stdout).toContain("nothing found");
  };

  it("never contradicts itself, and loses nothing that was flushed", () => cut("--seed", "1"), 600_000);

  it("is whole to qemu-img, too, at its end and after a cut", async () => {
    let compared = 0;
    for (let seed = 1; seed <= 15; seed++) {
      const { status, stderr } = await outcome(join(out, "image-crash"), [
        "--seed",
        String(seed),
        "--leave",
        path("left"),
      ]);
      expect(status, stderr.slice(-4000)).toBe(0);
      expect(await qemuImg("check", path("left.qcow2")), `seed ${seed}`).toContain("No errors");
      await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("left.qcow2"), path("left.raw"));
      const { snapshots } = JSON.parse(await qemuImg("info", "--output=json", path("left.qcow2")));
      for (const { name } of (snapshots ?? []) as { name: string }[]) {
        await qemuImg(
          "convert",
          "-O",
          "raw",
          "-l",
          `snapshot.name=${name}`,
          path("left.qcow2"),
          path("then.raw"),
        );
        // As long as the disk is now, whatever it was then.
        const theirs = await readFile(path("then.raw"));
        const ours = await readFile(path(`left.${name}.raw`));
        const common = Math.min(ours.length, theirs.length);
        expect(theirs.subarray(0, common).equals(ours.subarray(0, common)), `seed ${seed}: ${name}`).toBe(
          true,
        );
        compared++;
      }
      const { stdout } = await outcome("qemu-img", ["check", "--output=json", path("left.cut.qcow2")]);
      expect(JSON.parse(stdout), `seed ${seed}`).not.toHaveProperty("corruptions");
    }
    expect(compared).toBeGreaterThan(5);
  }, 600_000);

  it.each(["plain", "raw"])(
    "is whole with its data in another file, which may be %s",
    async (kind) => {
      for (let seed = 1; seed <= 8; seed++) {
        const args = ["--seed", String(seed), "--data-file", kind, "--leave", path("left")];
        const { status, stderr } = await outcome(join(out, "image-crash"), args);
        expect(status, stderr.slice(-4000)).toBe(0);
        const info = JSON.parse(await qemuImg("info", "--output=json", path("left.qcow2")));
        expect(info["format-specific"].data).toMatchObject({
          "data-file": path("left.data"),
          "data-file-raw": kind === "raw",
        });
        expect(await qemuImg("check", path("left.qcow2")), `seed ${seed}`).toContain("No errors");
        await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("left.qcow2"), path("left.raw"));
        if (kind === "raw")
          await qemuImg("compare", "-f", "raw", "-F", "raw", path("left.data"), path("left.raw"));
        const { stdout } = await outcome("qemu-img", ["check", "--output=json", path("left.cut.qcow2")]);
        expect(JSON.parse(stdout), `seed ${seed}`).not.toHaveProperty("corruptions");
      }
      await cut("--seed", "4", "--data-file", kind);
    },
    600_000,
  );

  it("moves its refcounts' table to a larger one when that is full", async () => {
    await numbered("full.qcow2", "cluster_size=512,refcount_bits=64", false, 3890 * 512);
    const clusters = async (name: string) => (await readFile(path(name))).readUInt32BE(56);
    expect(await clusters("full.qcow2")).toBe(1);
    // Some compact it instead, and then it is large enough.
    const grown: boolean[] = [];
    for (const seed of ["1", "2", "3", "4", "5", "6"]) {
      const left = ["--seed", seed, "--image", path("full.qcow2"), "--leave", path("left")];
      const { status, stderr } = await outcome(join(out, "image-crash"), left);
      expect(status, stderr.slice(-4000)).toBe(0);
      grown.push((await clusters("left.qcow2")) > 1);
      expect(await qemuImg("check", path("left.qcow2"))).toContain("No errors");
      await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("left.qcow2"), path("left.raw"));
    }
    expect(grown).toContain(true);
  }, 600_000);

  it.each([
    ["compressed by zlib", "cluster_size=1k", true],
    ["compressed by zstd", "cluster_size=1k,compression_type=zstd", true],
    ["with 64 bits of refcount", "cluster_size=512,refcount_bits=64", false],
    ["with extended entries", "cluster_size=16k,extended_l2=on", false],
    ["of version 2", "cluster_size=1k,compat=0.10", false],
    // Never dirty: that is looked at in every state.
    ["with lazy refcounts", "cluster_size=1k,lazy_refcounts=on", false],
  ] as const)(
    "keeps its snapshots: %s",
    async (name, options, compress) => {
      const file = `cut-${name.replace(/\W+/g, "-")}.qcow2`;
      await numbered(file, options, compress);
      await qemuImg("snapshot", "-c", "one", path(file));
      await io(file, "write -P 6 20k 9k", "write -P 7 64k 2k");
      await qemuImg("snapshot", "-c", "two", path(file));
      await cut("--seed", "2", "--image", path(file));
    },
    600_000,
  );

  it.each([
    ["dirty", 0],
    ["corrupt", 1],
  ] as const)("is not written to while it is %s", async (name, bit) => {
    await numbered("unfit.qcow2", "cluster_size=1k,lazy_refcounts=on", false);
    const data = await readFile(path("unfit.qcow2"));
    data.writeBigUInt64BE(1n << BigInt(bit), 72);
    await writeFile(path(`${name}.qcow2`), data);
    const { status, stderr } = await outcome(join(out, "image-crash"), ["--image", path(`${name}.qcow2`)]);
    expect(stderr).toContain("cannot be written to");
    expect(status).toBe(1);
  });

  it("keeps bitmaps, and says that they are not to be relied upon", async () => {
    await numbered("bitmaps.qcow2", "cluster_size=1k", false);
    for (const name of ["one", "two"]) await qemuImg("bitmap", "--add", path("bitmaps.qcow2"), name);
    await cut("--seed", "3", "--image", path("bitmaps.qcow2"));
    const left = ["--seed", "3", "--image", path("bitmaps.qcow2"), "--leave", path("left")];
    expect((await outcome(join(out, "image-crash"), left)).status).toBe(0);
    expect(await qemuImg("check", path("left.qcow2"))).toContain("No errors");
    const { data } = JSON.parse(await qemuImg("info", "--output=json", path("left.qcow2")))[
      "format-specific"
    ];
    expect(data.bitmaps.map(({ name, flags }: { name: string; flags: string[] }) => [name, flags])).toEqual([
      ["one", ["in-use", "auto"]],
      ["two", ["in-use", "auto"]],
    ]);
  }, 600_000);
});

it("survives whatever bytes it is given", async () => {
  const seeds = await mkdtemp(path("seeds-"));
  const small = {
    "512": "cluster_size=512",
    "1k": "cluster_size=1k,refcount_bits=64",
    extended: "cluster_size=16k,extended_l2=on",
    v2: "cluster_size=512,compat=0.10",
    bits: "cluster_size=512,refcount_bits=1",
  };
  for (const [name, options] of Object.entries(small)) {
    await create("seed.qcow2", options, "1M");
    await io("seed.qcow2", "write -P 1 0 8k", ...(name === "v2" ? [] : ["write -z 8k 4k"]));
    if (name !== "bits") await qemuImg("snapshot", "-c", "one", path("seed.qcow2"));
    if (name !== "v2") await qemuImg("bitmap", "--add", path("seed.qcow2"), "changes");
    await copyFile(path("seed.qcow2"), join(seeds, name));
  }
  const text = path("text.raw");
  await writeFile(text, "all work and no play ".repeat(800).slice(0, 16 * KIB));
  for (const type of ["zlib", "zstd"]) {
    const options = `compression_type=${type},cluster_size=4k`;
    await qemuImg("convert", "-c", "-O", "qcow2", "-o", options, text, join(seeds, type));
  }
  const runs = process.env.FUZZ_RUNS ?? "20000";
  const { stderr, status } = await outcome(join(out, "fuzz"), [
    `-runs=${runs}`,
    "-seed=1",
    "-max_len=65536",
    "-timeout=60",
    `-artifact_prefix=${path("")}/`,
    await mkdtemp(path("found-")),
    seeds,
  ]);
  expect(status, stderr.slice(-4000)).toBe(0);
  expect(stderr).toContain(`Done ${runs} runs`);
}, 600_000);
