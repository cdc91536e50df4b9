/** What the tools of others see: nbdinfo, nbdcopy, qemu-img, qemu-io and fio on every kind of stack. */
import { randomBytes } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { MIB, oneFile, output, qemuIo, qemuIoOk, run, type Server, startServer } from "./harness.js";

const servers: Server[] = [];
const start = async (...args: Parameters<typeof startServer>): Promise<Server> => {
  const server = await startServer(...args);
  servers.push(server);
  return server;
};
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

const file = (path: string, size: number, more: object = {}) => ({ file: { path, size, ...more } });
const data = (layer: string) => ({ data: { layer, frontend: "nbd" } });

const STACKS = {
  file: { layers: { a: file("a.img", 32 * MIB) }, exports: data("a") },
  "file with 4 KiB blocks": {
    layers: { a: file("a.img", 32 * MIB, { blockSize: 4096 }) },
    exports: data("a"),
  },
  linear: {
    layers: {
      a: file("a.img", 8 * MIB + 512),
      b: file("b.img", 24 * MIB - 512),
      l: { linear: { members: ["a", "b"] } },
    },
    exports: data("l"),
  },
  stripe: {
    layers: {
      a: file("a.img", 16 * MIB),
      b: file("b.img", 16 * MIB),
      s: { stripe: { members: ["a", "b"], chunk: 4096 } },
    },
    exports: data("s"),
  },
  mirror: {
    layers: {
      a: file("a.img", 32 * MIB),
      b: file("b.img", 32 * MIB),
      m: { mirror: { members: ["a", "b"] } },
    },
    exports: data("m"),
  },
  "mirror of stripes": {
    layers: {
      a: file("a.img", 16 * MIB),
      b: file("b.img", 16 * MIB),
      c: file("c.img", 32 * MIB),
      s: { stripe: { members: ["a", "b"], chunk: 65536 } },
      m: { mirror: { members: ["s", "c"] } },
    },
    exports: data("m"),
  },
};

describe.each(Object.entries(STACKS))("%s", (_name, spec) => {
  it("gives back what nbdcopy wrote, to nbdcopy and to qemu-img, in requests of any size", async () => {
    const server = await start(spec);
    const source = join(server.folder, "source");
    await writeFile(source, randomBytes(32 * MIB));
    await output("nbdcopy", [source, server.uri()]);
    expect(await output("qemu-img", ["compare", "-f", "raw", "-F", "raw", source, server.uri()])).toContain(
      "identical",
    );
    for (const size of [4096, 256 << 10, 32 * MIB]) {
      const back = join(server.folder, `back-${size}`);
      await output("nbdcopy", [`--request-size=${size}`, "--connections=2", server.uri(), back]);
      expect((await readFile(back)).equals(await readFile(source))).toBe(true);
    }
    await output("nbdcopy", ["--request-size=33554432", server.uri(), server.uri()]);
    expect(await output("qemu-img", ["compare", "-f", "raw", "-F", "raw", source, server.uri()])).toContain(
      "identical",
    );
  });

  it("keeps fio's checksums under random reads, writes and trims", async () => {
    const server = await start(spec);
    const block = _name.includes("4 KiB") ? 4096 : 512;
    for (const rw of ["randrw", "randwrite", "write"]) {
      await output(
        "fio",
        [
          "--name=verify",
          "--ioengine=nbd",
          `--uri=${server.uri()}`,
          `--rw=${rw}`,
          `--bsrange=${block}-512k`,
          `--blockalign=${block}`,
          "--size=32m",
          "--io_size=48m",
          "--iodepth=32",
          "--verify=crc32c",
          "--verify_fatal=1",
          "--verify_state_save=0",
          "--fsync=64",
          "--randseed=7",
        ],
        server.folder,
      );
    }
  });

  it("does every command of qemu-io's", async () => {
    const server = await start(spec);
    await qemuIoOk(
      server.uri(),
      "write -P 1 0 8M",
      "write -f -P 2 64k 128k",
      "write -z 1M 64k",
      "write -z -u 2M 64k",
      "discard 3M 1M",
      "flush",
      "aio_write -P 3 4M 1M",
      "aio_write -P 4 5M 1M",
      "aio_flush",
      "read -P 1 0 64k",
      "read -P 2 64k 128k",
      "read -P 1 192k 832k",
      "read -P 0 1M 64k",
      "read -P 1 1088k 960k",
      "read -P 0 2M 64k",
      "read -P 1 2112k 960k",
      "read -P 0 3M 1M",
      "read -P 3 4M 1M",
      "read -P 4 5M 1M",
      "read -P 1 6M 2M",
      "read -P 0 8M 24M",
    );
  });
});

describe("what a client is told", () => {
  it("lists every export with its properties", async () => {
    const server = await start({
      layers: {
        a: file("a.img", 8 * MIB),
        b: file("b.img", 4 * MIB, { blockSize: 4096 }),
      },
      exports: {
        first: { layer: "a", frontend: "nbd" },
        second: { layer: "b", frontend: "nbd", readOnly: true },
      },
    });
    const listed = JSON.parse(await output("nbdinfo", ["--list", "--json", server.uri("")]));
    expect(listed).toMatchObject({
      protocol: "newstyle-fixed",
      TLS: false,
      structured: true,
      exports: [
        {
          "export-name": "first",
          description: "layer a of stack test",
          "export-size": 8 * MIB,
          contexts: ["base:allocation"],
          is_read_only: false,
          is_rotational: false,
          can_cache: true,
          can_df: true,
          can_fast_zero: true,
          can_flush: true,
          can_fua: true,
          can_multi_conn: true,
          can_trim: true,
          can_zero: true,
          block_size_minimum: 512,
          block_size_preferred: 4096,
          block_size_maximum: 32 * MIB,
        },
        {
          "export-name": "second",
          "export-size": 4 * MIB,
          is_read_only: true,
          can_trim: false,
          can_zero: false,
          can_multi_conn: true,
          block_size_minimum: 4096,
        },
      ],
    });
    // With more than one there is no default.
    expect((await run("nbdinfo", ["--size", server.uri("")])).stderr).toMatch(
      /no export named ''|no default/,
    );
    expect((await run("nbdinfo", ["--size", server.uri("third")])).stderr).toMatch(
      /no export named 'third'|no such/,
    );
  });

  it("takes the empty name for the only export", async () => {
    const server = await start(oneFile(MIB));
    expect((await output("nbdinfo", ["--size", server.uri("")])).trim()).toBe(String(MIB));
  });

  it("maps holes and data as the file has them", async () => {
    const server = await start(oneFile(8 * MIB));
    await qemuIoOk(server.uri(), "write -P 1 1M 64k", "write -P 1 4M 1M", "flush");
    const map = JSON.parse(await output("nbdinfo", ["--map", "--json", server.uri()]));
    expect(map).toEqual([
      { offset: 0, length: MIB, type: 3, description: "hole,zero" },
      { offset: MIB, length: 65536, type: 0, description: "data" },
      { offset: MIB + 65536, length: 3 * MIB - 65536, type: 3, description: "hole,zero" },
      { offset: 4 * MIB, length: MIB, type: 0, description: "data" },
      { offset: 5 * MIB, length: 3 * MIB, type: 3, description: "hole,zero" },
    ]);
    const seen = JSON.parse(
      await output("qemu-img", ["map", "-f", "raw", "--output=json", server.uri()]),
    ) as { start: number; length: number; data: boolean; zero: boolean }[];
    expect(seen.filter((extent) => extent.data).map(({ start, length }) => [start, length])).toEqual([
      [MIB, 65536],
      [4 * MIB, MIB],
    ]);
    expect(seen.every((extent) => extent.zero === !extent.data)).toBe(true);
  });

  it("maps a striped layer chunk by chunk", async () => {
    const server = await start({
      layers: {
        a: file("a.img", MIB),
        b: file("b.img", MIB),
        s: { stripe: { members: ["a", "b"], chunk: 65536 } },
      },
      exports: data("s"),
    });
    await qemuIoOk(server.uri(), "write -P 1 64k 64k", "write -P 1 256k 128k", "flush");
    const map = JSON.parse(await output("nbdinfo", ["--map", "--json", server.uri()])) as {
      length: number;
      type: number;
    }[];
    expect(map.map(({ length, type }) => [length / 1024, type])).toEqual([
      [64, 3],
      [64, 0],
      [128, 3],
      [128, 0],
      [1664, 3],
    ]);
  });

  it("frees what is trimmed, and keeps what is zeroed without unmapping", async () => {
    const server = await start(oneFile(8 * MIB));
    const allocated = async () => (await stat(join(server.folder, "disk.img"))).blocks * 512;
    await qemuIoOk(server.uri(), "write -P 1 0 8M", "flush");
    expect(await allocated()).toBeGreaterThanOrEqual(8 * MIB);
    await qemuIoOk(server.uri(), "write -z 0 4M", "flush");
    expect(await allocated()).toBeGreaterThanOrEqual(8 * MIB);
    await qemuIoOk(server.uri(), "write -z -u 0 2M", "discard 2M 2M", "flush");
    expect(await allocated()).toBeLessThan(5 * MIB);
    await qemuIoOk(server.uri(), "read -P 0 0 4M", "read -P 1 4M 4M");
  });
});

describe("many clients", () => {
  it("shows every connection what another has written and flushed", async () => {
    const server = await start(oneFile(16 * MIB));
    const source = join(server.folder, "source");
    await writeFile(source, randomBytes(16 * MIB));
    await output("nbdcopy", ["--connections=8", "--requests=16", "--flush", source, server.uri()]);
    const copies = await Promise.all(
      [1, 2, 3, 4].map(async (n) => {
        const back = join(server.folder, `back-${n}`);
        await output("nbdcopy", ["--connections=4", server.uri(), back]);
        return readFile(back);
      }),
    );
    const expected = await readFile(source);
    for (const copy of copies) expect(copy.equals(expected)).toBe(true);
    expect(await server.control({ op: "status" })).toMatchObject({
      phase: "ready",
      exports: [{ name: "data", clients: 0 }],
    });
  });

  it("refuses writes to a read-only export and serves it to any number", async () => {
    const server = await start({
      layers: { a: file("a.img", MIB) },
      exports: { data: { layer: "a", frontend: "nbd", readOnly: true } },
    });
    const text = await qemuIo(server.uri(), "write -P 1 0 4k").catch((error: Error) => error.message);
    expect(text).toMatch(/read-only|Permission|not permitted/i);
    await output("qemu-io", ["-r", "-f", "raw", server.uri(), "-c", "read -P 0 0 1M"]);
  });
});
