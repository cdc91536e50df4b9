/** What preflight says about the world, on real files in folders of their own and on a made-up sysfs. */

import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { compile } from "../../src/compile/compile.js";
import { resolvePaths } from "../../src/reconcile/paths.js";
import { blockMedia, holderOf, majorMinor } from "../../src/reconcile/preflight/block-device.js";
import { type PreflightInput, preflight } from "../../src/reconcile/preflight/preflight.js";
import type { StoredStack } from "../../src/reconcile/store.js";
import { checkDocument, type Finding, type StackSpec } from "../../src/spec/index.js";
import { list, stack } from "./sandbox.js";

const folder = () => {
  const path = mkdtempSync(join(tmpdir(), "us-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
};

function specOf(document: unknown): StackSpec {
  const { spec, findings } = checkDocument(document);
  if (spec === null) throw new Error(JSON.stringify(findings));
  return spec;
}

/** Looks at layers that stand in a linear, so that one spec can hold several. */
async function look(baseDir: string, layers: Record<string, unknown>, more: Partial<PreflightInput> = {}) {
  const members = Object.keys(layers);
  const spec = specOf(stack("s", { ...layers, all: { linear: { members } } }, ["all"]));
  const paths = resolvePaths({ env: { UBLK_STACK_STATE_DIR: baseDir, UBLK_STACK_RUN_DIR: baseDir }, uid: 0 });
  const result = await preflight({ spec, baseDir, paths, uid: 0, stacks: [], ...more });
  const { findings } = compile(spec, { media: result.media, host: { ublk: false, cpus: 1 } });
  return { ...result, all: [...result.findings, ...findings].filter(({ severity }) => severity === "error") };
}

const brief = (findings: readonly Finding[]) =>
  findings.map(({ code, message, path }) => `${path.slice(2).join(".")}: ${code}: ${message}`);

const file = (path: string, more: Record<string, unknown> = { size: "1MiB" }) => ({
  file: { path, ...more },
});

describe("the trace of a delay layer", () => {
  const says = async (text: string | null) => {
    const dir = folder();
    if (text !== null) writeFileSync(join(dir, "t.txt"), text);
    const layers = {
      disk: { memory: { size: "1MiB" } },
      slow: { delay: { base: "disk", read: "trace", trace: "t.txt" } },
    };
    const paths = resolvePaths({ env: { UBLK_STACK_STATE_DIR: dir, UBLK_STACK_RUN_DIR: dir }, uid: 0 });
    const spec = specOf(stack("s", layers, ["slow"]));
    const { findings, leafPaths } = await preflight({ spec, baseDir: dir, paths, uid: 0, stacks: [] });
    expect(leafPaths.slow).toBe(join(dir, "t.txt"));
    return brief(findings);
  };

  it.each([
    ["durations", "# ours\n5ms\n\n 100us # fast\r\n0ns", []],
    ["no file", null, ["does not exist"]],
    ["no duration", "# nothing\n", ["holds no duration"]],
    ["a number", "5ms\n7\n", ["says no duration on line 2"]],
    ["too long a duration", "99999h", ["says no duration on line 1"]],
  ])("%s", async (_, text, expected) => {
    const code = text === null ? "path-missing" : "bad-value";
    const prefix = `slow.delay.trace: ${code}: trace "t.txt" of layer "slow"`;
    expect(await says(text)).toEqual(expected.map((why) => `${prefix} ${why}`));
  });

  it("is a file of a size that a server can hold", async () => {
    expect(await says(`${"5ms\n".repeat(2 ** 22)}5ms\n`)).toEqual([
      'slow.delay.trace: out-of-range: trace "t.txt" of layer "slow" is too long',
    ]);
  });
});

describe("the path of a file layer", () => {
  interface Case {
    name: string;
    make?: (dir: string) => void;
    layer: Record<string, unknown>;
    says: (dir: string) => string[];
  }
  const cases: Case[] = [
    { name: "a file that will be made", layer: file("a.img"), says: () => [] },
    {
      name: "a file that is there",
      make: (dir) => sparse(dir, "a.img", 1),
      layer: file("a.img"),
      says: () => [],
    },
    {
      name: "absent without a size",
      layer: file("a.img", {}),
      says: () => [
        'a.file.path: file-without-size: file "a.img" of layer "a" does not exist, and no size says how to create it',
      ],
    },
    {
      name: "smaller than asked",
      make: (dir) => sparse(dir, "a.img", 1),
      layer: file("a.img", { size: "2MiB" }),
      says: () => [expect.stringMatching(/^a\.file\.size: file-too-small: "a\.img" has 1MiB/)],
    },
    {
      name: "a folder",
      make: (dir) => mkdirSync(join(dir, "a.img")),
      layer: file("a.img"),
      says: () => ['a.file.path: not-a-file: "a.img" is a folder, not a regular file'],
    },
    {
      name: "a device",
      layer: file("/dev/null"),
      says: () => ['a.file.path: not-a-file: "/dev/null" is a character device, not a regular file'],
    },
    {
      name: "no such folder",
      layer: file("none/a.img"),
      says: (dir) => [`a.file.path: path-missing: folder "${dir}/none" does not exist`],
    },
    {
      name: "a file for a folder",
      make: (dir) => sparse(dir, "none", 1),
      layer: file("none/a.img"),
      says: (dir) => [`a.file.path: path-missing: a part of "${dir}/none/a.img" is not a folder`],
    },
    {
      name: "a link to nothing",
      make: (dir) => symlinkSync("nowhere", join(dir, "a.img")),
      layer: file("a.img"),
      says: (dir) => [`a.file.path: path-missing: "${dir}/a.img" is a symbolic link to nothing`],
    },
    {
      name: "a link to itself",
      make: (dir) => symlinkSync("a.img", join(dir, "a.img")),
      layer: file("a.img"),
      says: (dir) => [`a.file.path: path-missing: "${dir}/a.img" leads through too many symbolic links`],
    },
    {
      name: "too long a name",
      layer: file("a".repeat(300)),
      says: (dir) => [
        `a.file.path: path-missing: "${dir}/${"a".repeat(300)}" is longer than the file system takes`,
      ],
    },
    {
      name: "a block layer on a file",
      make: (dir) => sparse(dir, "a.img", 1),
      layer: { block: { path: "a.img" } },
      says: () => ['a.block.path: not-a-block-device: "a.img" is a file, not a block device'],
    },
    {
      name: "a block layer on nothing",
      layer: { block: { path: "/dev/none" } },
      says: () => ['a.block.path: path-missing: block device "/dev/none" of layer "a" does not exist'],
    },
  ];

  it.each(cases)("$name", async ({ make, layer, says }) => {
    const dir = folder();
    make?.(dir);
    const before = list(dir);
    const { all } = await look(dir, { a: layer });
    expect(brief(all)).toEqual(says(dir));
    expect(list(dir)).toEqual(before);
  });

  it("tells what is missing and where everything is", async () => {
    const dir = folder();
    sparse(dir, "b.img", 1);
    const { missing, leafPaths } = await look(dir, { a: file("a.img"), b: file("b.img") });
    expect([...missing]).toEqual(["a"]);
    expect(leafPaths).toEqual({ a: join(dir, "a.img"), b: join(dir, "b.img") });
  });

  it("gives a file that will be made the media that it will have", async () => {
    const dir = folder();
    const before = await look(dir, { a: file("a.img") });
    sparse(dir, "a.img", 1);
    const after = await look(dir, { a: file("a.img") });
    expect(after.media.get("a")).toEqual({
      ...before.media.get("a"),
      exists: true,
      sizeBytes: 2 ** 20,
      identity: expect.stringMatching(/^file:/),
    });
  });
});

describe("one file under two names", () => {
  it.each([
    ["a symbolic link", (dir: string) => symlinkSync(join(dir, "a.img"), join(dir, "b.img"))],
    ["a hard link", (dir: string) => linkSync(join(dir, "a.img"), join(dir, "b.img"))],
  ])("is found through %s", async (_, link) => {
    const dir = folder();
    sparse(dir, "a.img", 1);
    link(dir);
    const { all } = await look(dir, { a: file("a.img"), b: file("b.img") });
    expect(brief(all)).toEqual([
      'b.file.path: path-twice: "b.img" of layer "b" leads to the same file as "a.img" of layer "a"',
    ]);
    expect(
      (await look(dir, { a: { ...file("a.img"), readOnly: true }, b: { ...file("b.img"), readOnly: true } }))
        .all,
    ).toEqual([]);
  });

  it("is found before it exists", async () => {
    const dir = folder();
    const { all } = await look(dir, { a: file("a.img"), b: file("./x/../a.img") });
    expect(brief(all)).toHaveLength(1);
    expect(all[0]?.code).toBe("path-twice");
  });

  it("is found in another stack, by whatever name", async () => {
    const dir = folder();
    sparse(dir, "a.img", 1);
    symlinkSync("a.img", join(dir, "other.img"));
    const { all } = await look(dir, { a: file("other.img") }, { stacks: [stored(dir, "first")] });
    expect(brief(all)).toEqual([
      'a.file.path: path-in-use: "other.img" is used by layer "a" of stack "first"',
    ]);
  });
});

/** A stack that has a.img. */
function stored(dir: string, name: string): StoredStack {
  const document = stack(name, { a: file("a.img") }, ["a"]);
  const { table } = compile(specOf(document), { media: new Map(), host: { ublk: false, cpus: 1 } });
  if (table === null) throw new Error("no table");
  const paths = { a: join(dir, "a.img") };
  return {
    version: 1,
    name,
    document,
    baseDir: dir,
    table,
    applied: table,
    paths,
    createdFiles: [],
    deleting: false,
  };
}

describe("what exports ask for", () => {
  const withSocket = (socket: string) => {
    const document = stack("s", { a: file("a.img") }, ["a"]) as unknown as { spec: Record<string, unknown> };
    document.spec.nbd = { socket };
    return specOf(document);
  };

  it("finds a socket that another program listens on, and takes one that is stale", async () => {
    const dir = folder();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(dir, "nbd.sock"), resolve));
    const busy = await look(dir, { a: file("a.img") }, { spec: withSocket("nbd.sock") });
    expect(busy.findings.map(({ code }) => code)).toEqual(["address-in-use"]);
    server.close();
    sparse(dir, "plain", 1);
    const plain = await look(dir, { a: file("a.img") }, { spec: withSocket("plain") });
    expect(plain.findings.map(({ message }) => message)).toEqual([`"${dir}/plain" is a file, not a socket`]);
  });

  it("refuses a socket path that Linux does not take", async () => {
    const { findings } = await look(folder(), { a: file("a.img") }, { spec: withSocket("x".repeat(105)) });
    expect(findings.map(({ code }) => code)).toEqual(["out-of-range"]);
  });

  it("knows whom it can give an export to", async () => {
    const document = stack("s", { a: file("a.img") }, ["a"]) as unknown as {
      spec: { exports: Record<string, unknown> };
    };
    document.spec.exports.a = { layer: "a", owner: "nobody-of-that-name", group: "root" };
    const { findings } = await look(folder(), { a: file("a.img") }, { spec: specOf(document) });
    expect(brief(findings)).toEqual(['a.owner: bad-value: this host knows no user "nobody-of-that-name"']);
  });
});

describe("memory", () => {
  it("refuses more than there can be, and warns about more than there is", async () => {
    const dir = folder();
    const huge = await look(dir, { a: { memory: { size: "4096TiB" } } });
    expect(huge.findings.map(({ code, severity }) => `${code} ${severity}`)).toEqual(["no-space error"]);
    const fine = await look(dir, { a: { memory: { size: "1MiB" } } });
    expect(fine.findings).toEqual([]);
    expect([...fine.missing]).toEqual(["a"]);
  });
});

describe("a block device", () => {
  /** As the kernel draws a disk with one partition. */
  function sysfs(): { sys: string; proc: string; disk: string } {
    const root = folder();
    const disk = join(root, "sys/devices/virtual/block/sda");
    mkdirSync(join(disk, "queue"), { recursive: true });
    mkdirSync(join(disk, "holders"));
    mkdirSync(join(disk, "sda1/holders"), { recursive: true });
    mkdirSync(join(root, "proc/self"), { recursive: true });
    const write = (path: string, text: string) => writeFileSync(join(disk, path), `${text}\n`);
    write("size", "2048");
    write("dev", "8:0");
    write("sda1/size", "1024");
    write("sda1/dev", "8:1");
    write("sda1/partition", "1");
    const limits = {
      logical_block_size: "512",
      physical_block_size: "4096",
      minimum_io_size: "4096",
      optimal_io_size: "65536",
      discard_granularity: "4096",
      discard_max_bytes: "1048576",
      write_zeroes_max_bytes: "2097152",
      write_cache: "write back",
      fua: "1",
      rotational: "1",
    };
    for (const [name, value] of Object.entries(limits)) write(`queue/${name}`, value);
    writeFileSync(join(root, "proc/self/mountinfo"), "");
    writeFileSync(join(root, "proc/swaps"), "Filename Type Size Used Priority\n");
    return { sys: join(root, "sys"), proc: join(root, "proc"), disk };
  }

  it("has the limits of its queue, a partition those of its disk", async () => {
    const { disk } = sysfs();
    const media = await blockMedia(disk);
    expect(media).toEqual({
      exists: true,
      sizeBytes: 2 ** 20,
      logicalBlockBytes: 512,
      physicalBlockBytes: 4096,
      ioMinBytes: 4096,
      ioOptBytes: 65536,
      discardGranularityBytes: 4096,
      maxDiscardBytes: 2 ** 20,
      maxWriteZeroesBytes: 2 ** 21,
      volatileCache: true,
      fua: true,
      rotational: true,
    });
    expect(await blockMedia(join(disk, "sda1"))).toEqual({ ...media, sizeBytes: 2 ** 19 });
  });

  it("cannot discard to zeros when it cannot write zeros", async () => {
    const { disk } = sysfs();
    writeFileSync(join(disk, "queue/write_zeroes_max_bytes"), "0\n");
    expect((await blockMedia(disk)).maxDiscardBytes).toBe(0);
  });

  it("is held by what is mounted from it or built on it, its partitions included", async () => {
    const folders = sysfs();
    expect(await holderOf(folders.disk, folders)).toBeNull();
    writeFileSync(
      join(folders.proc, "self/mountinfo"),
      "36 35 8:1 / /mnt/my\\040disk rw - ext4 /dev/sda1 rw\n",
    );
    expect(await holderOf(folders.disk, folders)).toBe("mounted at /mnt/my disk");
    writeFileSync(join(folders.proc, "self/mountinfo"), "");
    writeFileSync(
      join(folders.proc, "swaps"),
      "Filename Type Size Used Priority\n/dev/sda1 partition 1 0 -2\n",
    );
    expect(await holderOf(folders.disk, folders)).toBe("used as swap");
    mkdirSync(join(folders.disk, "holders/dm-0"));
    expect(await holderOf(folders.disk, folders)).toBe("used by /dev/dm-0");
  });

  it("has the number that the kernel prints", () => {
    expect(majorMinor(0x801)).toBe("8:1");
    expect(majorMinor(0x10300)).toBe("259:0");
    expect(majorMinor(0x11032c)).toBe("259:300");
  });
});

function sparse(dir: string, name: string, mebibytes: number): void {
  writeFileSync(join(dir, name), "");
  truncateSync(join(dir, name), mebibytes * 2 ** 20);
}
