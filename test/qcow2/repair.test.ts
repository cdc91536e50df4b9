/**
 * Images whose refcounts are out of date, because QEMU was killed or the power cut, or because somebody has
 * changed them: set right as `qemu-img check -r all` does it, and what counting cannot set right left alone.
 */
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ask, KIB, MIB, out, outcome, qemuImg, useTools } from "./images.ts";

const { path, create, io, numbered } = useTools();

const DIRTY = 1n;
const CORRUPT = 2n;
const INCOMPATIBLE = 72;

/** Ours, on one copy, and qemu-img's own on another: both are whole, and show the same. */
async function repairedAlike(name: string) {
  const theirs = path(`theirs-${name}`);
  await copyFile(path(name), theirs);
  await outcome("qemu-img", ["check", "-q", "-r", "all", theirs]);
  const said = await ask("repair", path(name));
  expect(said).toMatchObject({ error: 0 });
  expect(said).not.toHaveProperty("refusal");
  const info = JSON.parse(await qemuImg("info", "--output=json", path(name)));
  expect(info["dirty-flag"]).toBe(false);
  expect(await qemuImg("check", path(name))).toContain("No errors");
  expect(await ask("check", path(name))).toMatchObject({ corruptions: 0, leaks: 0 });
  await qemuImg("compare", path(name), theirs);
  const snapshots: { id: string }[] = info.snapshots ?? [];
  for (const { id } of snapshots) {
    for (const file of [path(name), theirs]) await qemuImg("snapshot", "-a", id, file);
    await qemuImg("compare", path(name), theirs);
  }
  expect(await qemuImg("check", path(name))).toContain("No errors");
  return said;
}

const kill = async (name: string, ...commands: string[]) => {
  await expect(io(name, ...commands, "abort")).rejects.toMatchObject({ signal: "SIGABRT" });
};

describe("an image of which QEMU was killed", () => {
  const OPTIONS = {
    "64k": "",
    ...Object.fromEntries(["512", "1k", "4k", "2M"].map((s) => [`clusters of ${s}`, `cluster_size=${s}`])),
    ...Object.fromEntries([2, 8, 32, 64].map((b) => [`refcounts of ${b} bits`, `refcount_bits=${b}`])),
    "small clusters and wide refcounts": "cluster_size=512,refcount_bits=64",
    "extended entries": "extended_l2=on,cluster_size=16k",
  };

  it.each(Object.entries(OPTIONS))("is counted anew: %s", async (feature, options) => {
    const name = `killed-${feature.replace(/\W+/g, "-")}.qcow2`;
    await create(name, `lazy_refcounts=on${options && ","}${options}`, "64M");
    await io(name, "write -P 1 0 300k", "write -P 2 3M 100k");
    await qemuImg("snapshot", "-c", "one", path(name));
    const many = ["write -P 3 100k 1M", "write -z 3M 64k", "discard 0 64k", "flush"];
    await kill(name, ...many, "write -P 4 20M 20k", "flush", "write -P 5 30M 300k");
    expect((await ask("info", path(name))).dirty).toBe(true);
    expect((await repairedAlike(name)).corruptions).toBeGreaterThan(0);
  });

  it("more than once, with two snapshots, and is written to by QEMU in between", async () => {
    const name = "often.qcow2";
    await create(name, "lazy_refcounts=on,cluster_size=4k", "64M");
    for (let i = 0; i < 4; i++) {
      await kill(name, `write -P ${i + 1} ${i * 700}k 1M`, "flush", "write -P 9 40M 64k", "discard 100k 64k");
      await repairedAlike(name);
      if (i < 2) await qemuImg("snapshot", "-c", `s${i}`, path(name));
      await io(name, `write -P 17 ${i}M 30k`);
      expect(await qemuImg("check", path(name))).toContain("No errors");
    }
  });

  it("and that is whole nevertheless, loses its mark", async () => {
    await create("mark.qcow2", "lazy_refcounts=on", "1M");
    await kill("mark.qcow2", "write -P 1 0 64k");
    const before = await readFile(path("mark.qcow2"));
    expect(before.readBigUInt64BE(INCOMPATIBLE) & DIRTY).toBe(DIRTY);
    await repairedAlike("mark.qcow2");
  });
});

describe("refcounts that somebody has changed", () => {
  const word = (data: Buffer, at: number) => Number(data.readBigUInt64BE(at) & 0x00fffffffffffe00n);
  const table = (data: Buffer) => word(data, 48);

  const made = async (name: string, options: string) => {
    await numbered(name, options, false);
    await qemuImg("snapshot", "-c", "one", path(name));
    await io(name, "write -P 6 20k 9k", "write -P 7 64k 2k");
    return readFile(path(name));
  };

  it.each([
    ["version 3", "cluster_size=1k"],
    ["version 2", "cluster_size=1k,compat=0.10"],
  ])(
    "are lowered where they are too high, and raised where they are too low, %s",
    async (version, options) => {
      const name = `poked-${version.replace(/\W+/g, "-")}.qcow2`;
      const whole = await made(name, options);
      const block = word(whole, table(whole));
      for (const change of [
        (n: number) => n + 1,
        (n: number) => Math.max(n - 1, 0),
        (n: number) => (n === 0 ? 3 : 0),
      ]) {
        const data = Buffer.from(whole);
        for (let i = 0; i < 200; i += 3)
          data.writeUInt16BE(change(data.readUInt16BE(block + 2 * i)), block + 2 * i);
        await writeFile(path(name), data);
        await repairedAlike(name);
      }
    },
  );

  it("are made anew where a block has gone", async () => {
    const data = await made("gone.qcow2", "cluster_size=512,refcount_bits=64");
    for (let i = 0; i < 64; i += 2) data.writeBigUInt64BE(0n, table(data) + 8 * i);
    await writeFile(path("gone.qcow2"), data);
    const before = await outcome(join(out, "image-tool"), ["read", path("gone.qcow2")]);
    expect(await ask("repair", path("gone.qcow2"))).toMatchObject({ error: 0 });
    expect(await qemuImg("check", path("gone.qcow2"))).toContain("No errors");
    expect(await outcome(join(out, "image-tool"), ["read", path("gone.qcow2")])).toEqual(before);
  });

  it("are given a larger table where it is too small for them", async () => {
    await numbered("small.qcow2", "cluster_size=512,refcount_bits=64", false, 5 * MIB);
    const data = await readFile(path("small.qcow2"));
    const clusters = data.readUInt32BE(56);
    expect(clusters).toBeGreaterThan(2);
    data.writeUInt32BE(1, 56);
    await writeFile(path("small.qcow2"), data);
    expect(await ask("repair", path("small.qcow2"))).toMatchObject({ error: 0 });
    expect((await readFile(path("small.qcow2"))).readUInt32BE(56)).toBeGreaterThan(2);
    expect(await qemuImg("check", path("small.qcow2"))).toContain("No errors");
    await qemuImg("compare", path("small.qcow2"), path("numbered.raw"));
  });

  it("are lowered behind the end of the file, where they become leaks once it is longer", async () => {
    await create("behind.qcow2", "cluster_size=4k", "1M");
    const data = await readFile(path("behind.qcow2"));
    const place = word(data, table(data)) + 2 * 100;
    data.writeUInt16BE(1, place);
    expect(data.length).toBeLessThan(100 * 4 * KIB);
    await writeFile(path("behind.qcow2"), data);
    expect(await qemuImg("check", path("behind.qcow2"))).toContain("No errors");
    expect(await ask("repair", path("behind.qcow2"))).toMatchObject({ error: 0, leaks: 1 });
    expect((await readFile(path("behind.qcow2"))).readUInt16BE(place)).toBe(0);
    expect(await qemuImg("check", path("behind.qcow2"))).toContain("No errors");
  });

  it("are lowered where a power cut has left leaks", async () => {
    let leaks = 0;
    for (let seed = 1; seed <= 15; seed++) {
      const left = ["--seed", String(seed), "--leave", path("left")];
      expect((await outcome(join(out, "image-crash"), left)).status).toBe(0);
      await copyFile(path("left.cut.qcow2"), path("cut.qcow2"));
      leaks += (await repairedAlike("cut.qcow2")).leaks;
    }
    expect(leaks).toBeGreaterThan(0);
  }, 600_000);

  it.each<[string, RegExp, (data: Buffer) => void]>([
    ["marked as corrupt", /marked as corrupt/, (d) => d.writeBigUInt64BE(CORRUPT | DIRTY, INCOMPATIBLE)],
    [
      "with a table where another one is",
      /lies where something else does/,
      (d) => d.writeBigUInt64BE(BigInt(table(d)) | (1n << 63n), word(d, 40)),
    ],
    [
      "with a cluster beyond its end",
      /beyond the end/,
      (d) => d.writeBigUInt64BE((1n << 40n) | (1n << 63n), word(d, word(d, 40))),
    ],
    [
      "with a cluster that does not begin at one",
      /contradicts the format/,
      (d) => d.writeBigUInt64BE(512n | (1n << 63n), word(d, word(d, 40))),
    ],
  ])("are left alone in an image %s, as it is", async (name, said, change) => {
    const file = `left-${name.replace(/\W+/g, "-")}.qcow2`;
    const data = await made(file, "cluster_size=1k");
    data.writeBigUInt64BE(DIRTY, INCOMPATIBLE);
    change(data);
    await writeFile(path(file), data);
    expect((await ask("repair", path(file))).refusal).toMatch(said);
    expect((await readFile(path(file))).equals(data)).toBe(true);
  });

  it("are left alone where they are too narrow for what is there", async () => {
    await numbered("narrow.qcow2", "cluster_size=1k,refcount_bits=1", false);
    const data = await readFile(path("narrow.qcow2"));
    const entries = word(data, word(data, 40));
    data.writeBigUInt64BE(data.readBigUInt64BE(entries), entries + 8);
    await writeFile(path("narrow.qcow2"), data);
    expect((await ask("repair", path("narrow.qcow2"))).refusal).toMatch(/2 references, more than/);
    expect((await readFile(path("narrow.qcow2"))).equals(data)).toBe(true);
  });

  const STATES = process.env.CRASH_STATES ?? "400";
  it.each([
    ["1k", "cluster_size=1k", 128 * KIB, false],
    ["version 2", "cluster_size=1k,compat=0.10", 128 * KIB, false],
    ["compressed", "cluster_size=1k", 128 * KIB, true],
    ["extended entries", "cluster_size=16k,extended_l2=on", 128 * KIB, false],
    ["narrow refcounts", "cluster_size=512,refcount_bits=2", 128 * KIB, false],
    ["a table of several clusters", "cluster_size=512,refcount_bits=64", 3 * MIB, false],
  ] as const)(
    "are set right under power cuts: %s",
    async (name, options, bytes, compress) => {
      const file = `cut-${name.replace(/\W+/g, "-")}.qcow2`;
      await numbered(file, options, compress, bytes);
      await qemuImg("snapshot", "-c", "one", path(file));
      await io(file, "write -P 6 20k 9k", "write -P 7 64k 2k");
      const states = String(Math.ceil((Number(STATES) * 128 * KIB) / bytes));
      const args = [path(file), "--states", states, "--seed", "1"];
      const { status, stdout, stderr } = await outcome(join(out, "repair-crash"), args);
      expect(status, stderr.slice(-4000)).toBe(0);
      expect(stdout).toContain("nothing found");
    },
    600_000,
  );
});
