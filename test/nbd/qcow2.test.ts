/**
 * The layer qcow2 as clients see it, judged by QEMU: what qemu-img made is read and changed through the server, what
 * the server made is read and checked by qemu-img, also after it was killed at any moment.
 */
import { existsSync } from "node:fs";
import { copyFile, open, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type Config,
  MIB,
  output,
  qemuIoOk,
  qemuIoSays,
  run,
  type Server,
  startServer,
  temporaryFolder,
} from "./harness.js";

let folder: string;
let server: Server | undefined;
const path = (name: string) => join(folder, name);
const URI = () => server?.uri() ?? "";
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(async () => {
  if (server?.process.exitCode === null && server.process.signalCode === null) await server.stop();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

const qemuImg = (...args: string[]) => output("qemu-img", args);
/** Clean: neither corruptions nor leaks. */
async function checked(image: string): Promise<void> {
  const { status, stdout, stderr } = await run("qemu-img", ["check", path(image)]);
  expect({ status, stderr, stdout }).toMatchObject({ status: 0, stderr: "" });
}

type Options = Record<string, unknown>;
const stack = (options: Options, layers: Record<string, object> = {}) => ({
  layers: {
    base: { file: { path: "disk.qcow2" } },
    disk: { qcow2: { base: "base", ...options } },
    ...layers,
  },
  exports: { data: { layer: "disk", frontend: "nbd" } },
});
async function serve(
  options: Options,
  layers: Record<string, object> = {},
  adjust: (config: Config) => void = () => undefined,
): Promise<Server> {
  server = await startServer(stack(options, layers), { folder, adjust });
  return server;
}

/** Numbers that follow from a seed: a linear congruence is enough for places and lengths. */
function dice(seed: number): (below: number) => number {
  let state = BigInt(seed) * 2654435761n + 1n;
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(below));
  };
}

const SIZE = 24 * MIB;
/** Changes at any place and of any length in sectors: as qemu-io's commands for us, and for a plain file beside it. */
function changes(seed: number, count: number, discards = true): { ours: string[]; plain: string[] } {
  const roll = dice(seed);
  const ours: string[] = [];
  const plain: string[] = [];
  for (let i = 0; i < count; i++) {
    const length = 512 * (1 + roll(roll(4) === 0 ? 1024 : 40));
    const offset = 512 * roll((SIZE - length) / 512);
    const kind = roll(10);
    const zero = `write -z ${offset} ${length}`;
    const write = `write -P ${1 + roll(255)} ${offset} ${length}`;
    if (kind < 6) ours.push(write);
    else if (kind < 8) ours.push(zero);
    else if (kind === 8) ours.push(`write -z -u ${offset} ${length}`);
    else ours.push(discards ? `discard ${offset} ${length}` : zero);
    plain.push(kind < 6 ? write : zero);
    if (roll(12) === 0) ours.push("flush");
  }
  return { ours, plain };
}
const plainIo = (name: string, ...commands: string[]) =>
  output("qemu-io", ["-f", "raw", ...commands.flatMap((command) => ["-c", command]), path(name)]);

/** Images of qemu-img's own: its options, and what they have in them. */
const CORPUS: Record<
  string,
  {
    create: string[];
    v2?: boolean;
    backing?: "raw" | "qcow2";
    compressed?: boolean;
    snapshot?: boolean;
    bitmap?: boolean;
  }
> = {
  "64 KiB": { create: [] },
  "512 bytes": { create: ["-o", "cluster_size=512"] },
  "4 KiB": { create: ["-o", "cluster_size=4k"] },
  "2 MiB": { create: ["-o", "cluster_size=2M"] },
  "refcounts of 1 bit": { create: ["-o", "refcount_bits=1"] },
  "refcounts of 64 bits": { create: ["-o", "refcount_bits=64,cluster_size=4k"] },
  "version 2": { create: ["-o", "compat=0.10"], v2: true },
  "extended L2": { create: ["-o", "extended_l2=on,cluster_size=16k"] },
  "lazy refcounts": { create: ["-o", "lazy_refcounts=on"] },
  "preallocated metadata": { create: ["-o", "preallocation=metadata"] },
  "above raw": { create: [], backing: "raw" },
  "above qcow2": { create: ["-o", "cluster_size=4k"], backing: "qcow2" },
  "extended L2 above qcow2": { create: ["-o", "extended_l2=on"], backing: "qcow2" },
  "compressed with zlib": { create: [], compressed: true },
  "compressed with zstd": { create: ["-o", "compression_type=zstd"], compressed: true },
  "with a snapshot": { create: ["-o", "cluster_size=4k"], snapshot: true },
  "with a bitmap": { create: [], bitmap: true },
};

describe("an image of qemu-img's", () => {
  it.each(Object.keys(CORPUS))("%s, is read and changed, and stays what QEMU reads", async (name) => {
    const kind = CORPUS[name] ?? { create: [] };
    const layers: Record<string, object> = {};
    const options: Options = { size: SIZE };
    const first = changes(name.length, 60, false);
    await writeFile(path("plain"), "");
    await output("truncate", ["-s", `${SIZE}`, path("plain")]);
    const create = ["create", "-q", "-f", "qcow2", ...kind.create];
    if (kind.backing !== undefined) {
      await qemuImg("create", "-q", "-f", kind.backing, path("golden"), `${SIZE - 3 * MIB}`);
      await output("qemu-io", ["-f", kind.backing, "-c", "write -P 77 1M 9M", path("golden")]);
      await plainIo("plain", "write -P 77 1M 9M");
      create.push("-b", path("golden"), "-F", kind.backing);
      layers.golden = kind.backing === "raw" ? { file: { path: "golden" } } : { qcow2: { base: "below" } };
      if (kind.backing === "qcow2") layers.below = { file: { path: "golden" } };
      Object.assign(layers.golden, { readOnly: true });
      const inside = kind.backing === "raw" ? layers.golden : (layers.golden as { qcow2: object });
      Object.assign("file" in inside ? (inside.file as object) : inside.qcow2, { size: SIZE - 3 * MIB });
      options.backing = "golden";
    }
    if (kind.compressed) {
      await plainIo("plain", ...first.plain);
      await qemuImg("convert", "-c", "-O", "qcow2", ...kind.create, path("plain"), path("disk.qcow2"));
    } else {
      await qemuImg(...create, path("disk.qcow2"), `${SIZE}`);
      await output("qemu-io", ["-f", "qcow2", ...first.ours.flatMap((c) => ["-c", c]), path("disk.qcow2")]);
      await plainIo("plain", ...first.plain);
    }
    if (kind.snapshot) {
      await qemuImg("snapshot", "-c", "before", path("disk.qcow2"));
      await copyFile(path("plain"), path("plain.before"));
    }
    if (kind.bitmap) await qemuImg("bitmap", "--add", path("disk.qcow2"), "marks");

    await serve(options, layers);
    await qemuImg("compare", "-f", "raw", "-F", "raw", URI(), path("plain"));
    const map = ["map", "--output", "json"];
    const shown = (text: string) =>
      (JSON.parse(text) as { start: number; length: number; zero: boolean; data: boolean }[]).reduce<
        string[]
      >((runs, { start, length, zero, data }) => {
        const last = runs.at(-1)?.split(" ");
        const same = last?.[2] === `${zero}` && last[3] === `${data}`;
        if (same) runs.pop();
        runs.push(`${same ? last[0] : start} ${start + length} ${zero} ${data}`);
        return runs;
      }, []);
    if (kind.backing !== "raw" && !name.startsWith("preallocated")) {
      // Holes of files are their file system's: qemu-img looks for them in preallocated images, too.
      expect(shown(await qemuImg(...map, "-f", "raw", URI()))).toEqual(
        shown(await qemuImg(...map, "-U", "-f", "qcow2", path("disk.qcow2"))),
      );
    }
    const second = changes(name.length + 100, 60, !kind.v2);
    await qemuIoOk(URI(), ...second.ours);
    await plainIo("plain", ...second.plain);
    await qemuImg("compare", "-f", "raw", "-F", "raw", URI(), path("plain"));
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("disk.qcow2"), path("plain"));
    if (kind.snapshot) {
      await qemuImg("snapshot", "-a", "before", path("disk.qcow2"));
      await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("disk.qcow2"), path("plain.before"));
      await checked("disk.qcow2");
    }
    expect(existsSync(path("qcow2-disk"))).toBe(false);
  });
});

describe("an image of ours", () => {
  it.each([
    [{}, { "compression-type": "zlib", "refcount-bits": 16, "extended-l2": false, compat: "1.1" }, 65536],
    [{ clusterSize: "2MiB", refcountBits: 1 }, { "refcount-bits": 1 }, 2 * MIB],
    [{ clusterSize: 512, refcountBits: 64 }, { "refcount-bits": 64 }, 512],
    [{ extendedL2: true, clusterSize: "16KiB" }, { "extended-l2": true }, 16384],
    [
      { compression: "zstd", lazyRefcounts: true },
      { "compression-type": "zstd", "lazy-refcounts": true },
      65536,
    ],
    [{ version: 2 }, { compat: "0.10" }, 65536],
    [{ preallocation: "metadata" }, {}, 65536],
    [{ preallocation: "falloc" }, {}, 65536],
    [{ preallocation: "full" }, {}, 65536],
  ])("%o is what was asked for, all zeros, and stands changes", async (options, data, clusterSize) => {
    await serve({ size: "24MiB", ...options });
    const info = JSON.parse(await qemuImg("info", "-U", "--output", "json", path("disk.qcow2")));
    expect(info).toMatchObject({
      "virtual-size": SIZE,
      "cluster-size": clusterSize,
      "format-specific": { data },
    });
    await qemuIoOk(URI(), "read -P 0 0 24M");
    await writeFile(path("plain"), "");
    await output("truncate", ["-s", `${SIZE}`, path("plain")]);
    const { ours, plain } = changes(clusterSize, 80, options.version !== 2);
    await qemuIoOk(URI(), ...ours);
    await plainIo("plain", ...plain);
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("disk.qcow2"), path("plain"));
    if (options.preallocation === "full" || options.preallocation === "falloc")
      expect((await stat(path("disk.qcow2"))).blocks * 512).toBeGreaterThan(SIZE / 2);
  });

  it("has everything where QEMU puts it", async () => {
    const writes = ["write 0 256k", "write 8M 4k", "write 8200k 300k", "write 256k 100k", "write 40M 512"];
    const places = async (image: string) => JSON.parse(await qemuImg("map", "--output=json", path(image)));
    for (const image of ["disk.qcow2", "theirs.qcow2"])
      await qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path(image), "64M");
    await serve({ size: 64 * MIB });
    for (const write of writes) {
      await qemuIoOk(URI(), write);
      await output("qemu-io", ["-f", "qcow2", "-c", write, path("theirs.qcow2")]);
    }
    await server?.stop();
    expect(await places("disk.qcow2")).toEqual(await places("theirs.qcow2"));
  });

  it("of version 2 gives up what is discarded, unless a backing would shine through", async () => {
    await qemuImg("create", "-q", "-f", "raw", path("golden"), "1M");
    const backing = { golden: { file: { path: "golden", size: MIB }, readOnly: true } };
    for (const above of [[], ["-b", path("golden"), "-F", "raw"]]) {
      const stays = above.length > 0;
      await qemuImg("create", "-q", "-f", "qcow2", "-o", "compat=0.10", ...above, path("disk.qcow2"), "1M");
      await serve({ size: MIB, ...(stays ? { backing: "golden" } : {}) }, stays ? backing : {});
      await qemuIoOk(URI(), "write -P 5 0 1M", "discard 1k 200k", `read -P ${stays ? 5 : 0} 64k 128k`);
      await qemuIoOk(URI(), "read -P 5 0 64k", "read -P 5 192k 832k");
      await server?.stop();
      await checked("disk.qcow2");
      const map: { start: number; data: boolean }[] = JSON.parse(
        await qemuImg("map", "--output=json", path("disk.qcow2")),
      );
      expect(map.some(({ start, data }) => start === 64 << 10 && !data)).toBe(!stays);
    }
  });

  it("is opened by nobody else while it is served, and not served while another one has it", async () => {
    await serve({ size: "24MiB" });
    expect(await run("qemu-io", ["-f", "qcow2", "-c", "read 0 512", path("disk.qcow2")])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("lock"),
    });
    await server?.stop();
    const socket = path("other.sock");
    const args = ["-t", "-k", socket, "-f", "qcow2", "--fork", "--pid-file", path("pid"), path("disk.qcow2")];
    await output("qemu-nbd", args);
    const quick = (config: Config) => Object.assign(config.runtime, { lockWaitMs: 100 });
    await expect(serve({ size: "24MiB" }, {}, quick)).rejects.toThrow("in use by another process");
    await output("bash", ["-c", `pid=$(cat '${path("pid")}'); kill $pid; tail --pid $pid -f /dev/null`]);
    await serve({ size: "24MiB" });
  });

  it("keeps its data in a file of its own", async () => {
    const layers = { bytes: { file: { path: "bytes" } } };
    await serve({ size: "24MiB", dataFile: "bytes" }, layers);
    await writeFile(path("plain"), "");
    await output("truncate", ["-s", `${SIZE}`, path("plain")]);
    const { ours, plain } = changes(5, 80);
    await qemuIoOk(URI(), ...ours);
    await plainIo("plain", ...plain);
    await server?.kill();
    await serve({ size: "24MiB", dataFile: "bytes" }, layers);
    await qemuImg("compare", "-f", "raw", "-F", "raw", URI(), path("plain"));
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("disk.qcow2"), path("plain"));
    await expect(serve({ size: "24MiB" })).rejects.toThrow("dataFile");
    // The reverse: QEMU's, raw.
    await rm(path("bytes"));
    await rm(path("disk.qcow2"));
    const raw = ["-o", `data_file=${path("bytes")},data_file_raw=on`];
    await qemuImg("create", "-q", "-f", "qcow2", ...raw, path("disk.qcow2"), "24M");
    await serve({ size: "24MiB", dataFile: "bytes" }, layers);
    await qemuIoOk(URI(), ...ours);
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
    for (const [format, name] of [
      ["qcow2", "disk.qcow2"],
      ["raw", "bytes"],
    ] as const)
      await qemuImg("compare", "-f", format, "-F", "raw", path(name), path("plain"));
  });

  it("grows when it is stated larger, and never shrinks", async () => {
    await serve({ size: "24MiB", clusterSize: "4KiB" });
    await qemuIoOk(URI(), "write -P 5 0 24M");
    await server?.stop();
    await serve({ size: "3GiB" });
    await qemuIoOk(URI(), "read -P 5 0 24M", "read -P 0 24M 8M", "write -P 6 3000M 1M", "read -P 6 3000M 1M");
    await server?.stop();
    await checked("disk.qcow2");
    await expect(serve({ size: "1GiB" })).rejects.toThrow("size");
  });

  it("fails what finds no place, and stays clean", async () => {
    await serve({ size: "24MiB" }, { base: { file: { path: "disk.qcow2", sizeMax: "4MiB" } } });
    expect(await qemuIoSays(URI(), "write -P 1 0 2M", "flush", "write -P 2 8M 8M")).toContain(
      "No space left",
    );
    await qemuIoOk(
      URI(),
      "read -P 1 0 2M",
      "discard 8M 8M",
      "flush",
      "write -P 3 20M 1M",
      "read -P 3 20M 1M",
    );
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
  });
});

describe("a killed server", () => {
  it("loses nothing that it has acknowledged, and leaves no contradiction", async () => {
    await writeFile(path("plain"), "");
    await output("truncate", ["-s", `${SIZE}`, path("plain")]);
    for (let round = 1; round <= 12; round++) {
      const { ours, plain } = changes(round * 7, 30);
      await serve({ size: "24MiB", clusterSize: round % 2 ? "4KiB" : undefined });
      await qemuImg("compare", "-f", "raw", "-F", "raw", URI(), path("plain"));
      await qemuIoOk(URI(), ...ours.filter((command) => command !== "flush" || round % 3 === 0));
      await plainIo("plain", ...plain);
      await server?.kill();
      const { stdout } = await run("qemu-img", ["check", "-U", "--output", "json", path("disk.qcow2")]);
      expect(JSON.parse(stdout)).not.toHaveProperty("corruptions");
    }
    await serve({ size: "24MiB" });
    await qemuImg("compare", "-f", "raw", "-F", "raw", URI(), path("plain"));
    expect(await server?.stop()).toBe(0);
    await qemuImg("compare", "-f", "qcow2", "-F", "raw", path("disk.qcow2"), path("plain"));
    // What the killed ones were about to give up has leaked, until the first start after an orderly end.
    await serve({ size: "24MiB" });
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
  });

  it("that QEMU was is tidied up after", async () => {
    await qemuImg("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", path("disk.qcow2"), "24M");
    const args = ["-f", "qcow2", "-c", "write -P 9 1M 3M", "-c", "abort", path("disk.qcow2")];
    await output("bash", ["-c", 'qemu-io "$@" || true', "-", ...args]);
    expect(await qemuImg("info", path("disk.qcow2"))).toContain("lazy refcounts: true");
    expect((await run("qemu-img", ["check", path("disk.qcow2")])).status).not.toBe(0);
    await serve({ size: "24MiB" });
    await qemuIoOk(URI(), "read -P 9 1M 3M", "write -P 8 2M 10M");
    expect(await server?.stop()).toBe(0);
    await checked("disk.qcow2");
  });
});

describe("what is no image that could be served", () => {
  const refused = async (options: Options, code: string, text: string) => {
    const before = await output("sha256sum", [path("disk.qcow2")]);
    await expect(serve({ size: "24MiB", ...options })).rejects.toThrow(new RegExp(`"${code}".*${text}`, "s"));
    expect(await output("sha256sum", [path("disk.qcow2")])).toBe(before);
  };

  it("is named, and left as it is", async () => {
    await writeFile(path("disk.qcow2"), "a letter to somebody");
    await refused({}, "image-foreign", "no qcow2 image");
    await qemuImg("create", "-q", "-f", "qcow2", path("disk.qcow2"), "24M");
    await refused({ clusterSize: "4KiB" }, "image-differs", "clusterSize.*4096.*65536");
    await refused({ extendedL2: true }, "image-differs", "extendedL2");
    await refused({ size: "12MiB" }, "image-differs", "size");
    await qemuImg("create", "-q", "-f", "raw", path("golden"), "24M");
    await qemuImg(
      "create",
      "-q",
      "-f",
      "qcow2",
      "-b",
      path("golden"),
      "-F",
      "raw",
      path("disk.qcow2"),
      "24M",
    );
    await refused({}, "image-differs", "golden.*names no backing");
    const file = await open(path("disk.qcow2"), "r+");
    await file.write(Buffer.from([0xff]), 0, 1, 72); // incompatible features that nobody knows
    await file.close();
    await refused({}, "image-refused", "cannot be served");
  });

  it("is not served above a mirror either, and a mirror above goes on without it", async () => {
    await writeFile(path("disk.qcow2"), "a letter to somebody");
    await output("truncate", ["-s", "32M", path("disk.qcow2")]);
    const exports = { data: { layer: "top", frontend: "nbd" } };
    const file = (name: string) => ({ file: { path: name, size: "32MiB" } });
    const above = {
      a: file("disk.qcow2"),
      b: file("b"),
      pair: { mirror: { members: ["a", "b"] } },
      top: { qcow2: { base: "pair", size: "24MiB" } },
    };
    await expect(startServer({ layers: above, exports }, { folder })).rejects.toThrow("image-foreign");
    await rm(path("mirror-pair.json"), { force: true });
    await rm(path("live"), { force: true });
    await qemuImg("create", "-q", "-f", "qcow2", path("other.qcow2"), "24M");
    const below = {
      a: file("disk.qcow2"),
      one: { qcow2: { base: "a", size: "24MiB" } },
      other: { qcow2: { base: { file: { path: path("other.qcow2") } }, size: "24MiB" } },
      top: { mirror: { members: ["other", "one"] } },
    };
    server = await startServer({ layers: below, exports }, { folder });
    await qemuIoOk(URI(), "write -P 5 0 1M", "flush", "read -P 5 0 1M");
    const { mirrors } = (await server.control({ op: "status" })) as {
      mirrors: { members: { name: string; state: string }[] }[];
    };
    expect(mirrors[0]?.members.map(({ name, state }) => `${name} ${state}`)).toEqual([
      "other in-sync",
      "one dropped",
    ]);
    expect(await server.stop()).toBe(0);
    await checked("other.qcow2");
    expect((await stat(path("disk.qcow2"))).size).toBe(32 * MIB);
  });

  it("is not made where that is forbidden", async () => {
    await expect(serve({ size: "24MiB", create: "never" })).rejects.toThrow("create: never");
    expect((await stat(path("disk.qcow2"))).size).toBe(0);
  });
});
