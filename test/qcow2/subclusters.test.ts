/**
 * Clusters whose parts are allocated one by one (extended L2 entries): the same requests by us and by QEMU leave images
 * that QEMU finds equal, whole, and with as much allocated.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ask, KIB, MIB, out, outcome, qemuImg, useTools } from "./images.ts";

const { path, create, io } = useTools();

async function edit(name: string, ...commands: string[]) {
  const { status, stdout, stderr } = await outcome(join(out, "image-edit"), [path(name), ...commands]);
  expect(status, stderr).toBe(0);
  expect(JSON.parse(stdout)).toEqual(commands.map(() => 0));
}

interface Run {
  start: number;
  length: number;
  depth: number;
  zero: boolean;
  data: boolean;
  offset?: number;
}
const map = async (name: string): Promise<Run[]> =>
  JSON.parse(await qemuImg("map", "--output=json", path(name)));

/** [start, end) of the image's own data, and of what is zeros by the image's own word. */
async function own(name: string, kind: "data" | "zero"): Promise<number[][]> {
  const runs: number[][] = [];
  for (const { start, length, depth, ...is } of await map(name)) {
    if (depth !== 0 || !is[kind]) continue;
    const last = runs.at(-1);
    if (last?.[1] === start) last[1] = start + length;
    else runs.push([start, start + length]);
  }
  return runs;
}

async function isWhole(name: string) {
  const { stdout, status } = await outcome("qemu-img", ["check", "--output=json", path(name)]);
  expect(status, stdout).toBe(0);
  expect(await ask("check", path(name))).toMatchObject({ corruptions: 0, leaks: 0 });
}

interface Request {
  zeros: boolean;
  at: number;
  length: number;
}
const ours = ({ zeros, at, length }: Request, pattern: number) =>
  zeros ? `zero ${at} ${length}` : `write ${at} ${length} ${pattern}`;
const theirs = ({ zeros, at, length }: Request, pattern: number) =>
  zeros ? `write -z -u ${at} ${length}` : `write -P ${pattern} ${at} ${length}`;

const SIZE = 2 * MIB;
const KINDS: Record<string, { cluster: number; options?: string; backing?: true; snapshot?: true }> = {
  "clusters of 16k": { cluster: 16 * KIB },
  "clusters of 64k": { cluster: 64 * KIB },
  "clusters of 2M": { cluster: 2 * MIB },
  "a backing file": { cluster: 64 * KIB, backing: true },
  "a snapshot": { cluster: 16 * KIB, snapshot: true },
  "a backing file and a snapshot": { cluster: 32 * KIB, backing: true, snapshot: true },
  "narrow refcounts": { cluster: 16 * KIB, options: ",refcount_bits=1" },
};

describe.each(Object.keys(KINDS))("with %s", (kind) => {
  const { cluster = 0, options = "", backing = false, snapshot = false } = KINDS[kind] ?? {};

  async function make(name: string) {
    const over = backing ? ["-b", path("base.raw"), "-F", "raw"] : [];
    if (backing) await writeFile(path("base.raw"), Buffer.alloc(SIZE, 0x77));
    await create(name, `extended_l2=on,cluster_size=${cluster}${options}`, String(SIZE), ...over);
    if (!snapshot) return;
    await io(name, "write -P 200 3k 40k", "write -P 201 600k 5k", "write -z 700k 8k");
    await qemuImg("snapshot", "-c", "one", path(name));
  }

  /** In units of `unit` bytes, some of them within one cluster. */
  const requests = (unit: number) =>
    fc.array(
      fc
        .record({
          zeros: fc.boolean(),
          at: fc.nat(SIZE / unit - 1),
          length: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 80 })),
          near: fc.boolean(),
        })
        .map(({ zeros, at, length, near }) => {
          const first = near ? at % Math.max(1, Math.ceil((3 * cluster) / unit)) : at;
          const from = Math.min(first, SIZE / unit - 1);
          return { zeros, at: from * unit, length: Math.min(length, SIZE / unit - from) * unit };
        }),
      { minLength: 1, maxLength: 14 },
    );

  async function both(commands: Request[]) {
    await make("ours.qcow2");
    await make("theirs.qcow2");
    await edit("ours.qcow2", ...commands.map((request, i) => ours(request, i + 1)));
    await io("theirs.qcow2", ...commands.map((request, i) => theirs(request, i + 1)));
    await isWhole("ours.qcow2");
    await qemuImg("compare", path("ours.qcow2"), path("theirs.qcow2"));
  }

  it("the same bytes are read, whatever is written", async () => {
    for (const commands of fc.sample(requests(512), { numRuns: 4, seed: 3 })) await both(commands);
  }, 120_000);

  it("the same parts are allocated, and no others", async () => {
    for (const commands of fc.sample(requests(cluster / 32), { numRuns: 4, seed: 4 })) {
      await both(commands);
      const data = await own("ours.qcow2", "data");
      const most = await own("theirs.qcow2", "data");
      // Of a cluster that a snapshot shares QEMU copies what lies between two parts as well.
      if (!snapshot) expect(data, JSON.stringify(commands)).toEqual(most);
      for (const [from = 0, to = 0] of data) {
        const within = most.some(([start = 0, end = 0]) => start <= from && to <= end);
        expect(within, JSON.stringify({ commands, from, to })).toBe(true);
      }
      // Without a backing file what is not allocated reads zeros anyway.
      if (backing && !snapshot)
        expect(await own("ours.qcow2", "zero")).toEqual(await own("theirs.qcow2", "zero"));
    }
  }, 120_000);
});

describe("a cluster", () => {
  it("takes up what was written of it, and later parts go to the same place", async () => {
    await create("one.qcow2", "extended_l2=on,cluster_size=64k", "1M");
    await edit("one.qcow2", "write 10240 2048 1");
    expect(await own("one.qcow2", "data")).toEqual([[10240, 12288]]);
    const [first] = (await map("one.qcow2")).filter(({ data }) => data);
    const clusters = async () => (await ask("check", path("one.qcow2"))).end / 65536;
    const before = await clusters();
    await edit("one.qcow2", "write 40000 100 2", "write 12288 4096 3", "write 0 1024 4");
    for (const { start, data, offset = 0 } of await map("one.qcow2")) {
      if (data) expect(offset - start).toBe((first?.offset ?? 0) - (first?.start ?? 0));
    }
    expect(await own("one.qcow2", "data")).toEqual([
      [0, 2048],
      [10240, 16384],
      [38912, 40960],
    ]);
    expect(await clusters()).toBe(before);
    await isWhole("one.qcow2");
    await io(
      "one.qcow2",
      "read -P 0 1k 9k",
      "read -P 1 10k 2k",
      "read -P 2 40000 100",
      "read -P 0 40100 860",
    );
  });

  it("is given up with the last of its parts", async () => {
    await create("parts.qcow2", "extended_l2=on,cluster_size=64k", "1M");
    await edit("parts.qcow2", "write 0 8192 1", "zero 0 4096");
    expect(await own("parts.qcow2", "data")).toEqual([[4096, 8192]]);
    expect((await ask("check", path("parts.qcow2"))).allocated).toBe(1);
    await edit("parts.qcow2", "zero 4096 4096");
    expect((await ask("check", path("parts.qcow2"))).allocated).toBe(0);
    await isWhole("parts.qcow2");
  });

  it("that is compressed becomes a whole one", async () => {
    const text = "all work and no play ".repeat(60_000).slice(0, MIB);
    await writeFile(path("text.raw"), text);
    const options = ["-o", "extended_l2=on"];
    await qemuImg("convert", "-c", "-O", "qcow2", ...options, path("text.raw"), path("small.qcow2"));
    await edit("small.qcow2", "write 66000 100 1", "zero 131072 4096");
    const data = Buffer.from(text);
    data.fill(1, 66_000, 66_100);
    data.fill(0, 131_072, 135_168);
    await writeFile(path("text.raw"), data);
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("small.qcow2"), path("text.raw"));
    await isWhole("small.qcow2");
  });

  it("is read as before or as afterwards between the two words of its entry", async () => {
    const { status, stdout, stderr } = await outcome(join(out, "entry-order"), []);
    expect(status, stderr).toBe(0);
    expect(stdout).toContain("nothing found");
  });
});
