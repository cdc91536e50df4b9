/** Instruments that keep or change data, served over NBD, judged by programs of others. */

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { MIB, output, qemuIo, qemuIoOk, type Server, startServer, temporaryFolder } from "./harness.js";

let server: Server;
afterEach(() => server.close());

const READER = join(import.meta.dirname, "../vm/write-log.mjs");
const hash = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

type Counts = Record<string, number | boolean>;
async function counts(): Promise<Counts> {
  const { instruments } = (await server.control({ op: "status" })) as { instruments: { counts: Counts }[] };
  return instruments[0]?.counts ?? {};
}

describe("logwrites", () => {
  const spec = {
    layers: {
      disk: { file: { path: "disk.img", size: 8 * MIB } },
      log: { file: { path: "disk.log", size: 64 * MIB } },
      record: { logwrites: { base: "disk", log: "log" } },
    },
    exports: { data: { layer: "record", frontend: "nbd" } },
  };

  it("keeps what qemu writes, for a reader of the format", async () => {
    server = await startServer(spec);
    await qemuIoOk(
      server.uri(),
      "write -P 1 0 64k",
      "write -f -P 2 1M 4k",
      "discard 2M 1M",
      "write -z 4k 4k",
      "flush",
    );
    expect(await server.control({ op: "set", layer: "record", params: { mark: "end" } })).toEqual({
      ok: true,
    });
    const lines = (await output("node", [READER, "show", join(server.folder, "disk.log")]))
      .trim()
      .split("\n");
    const short = lines.map((line) => line.replace(/ [0-9a-f]{16}$/, ""));
    expect(short.at(-1)).toBe("mark end");
    expect(short).toContain("write 1048576+4096 fua");
    expect(short[0]).toBe("write 0+65536 fua"); // qemu-io writes through
    expect(short).toContain("discard 2097152+1048576");
    const image = join(server.folder, "replayed.img");
    writeFileSync(image, Buffer.alloc(8 * MIB));
    await output("node", [READER, "replay", join(server.folder, "disk.log"), image, "end"]);
    expect(hash(image)).toBe(hash(join(server.folder, "disk.img")));
    expect(await counts()).toMatchObject({ recording: true, unflushed: 0, heldBytes: 0, marks: 1 });
  });

  it("refuses a log that is something else, and says which", async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, "disk.log"), "my letters");
    await expect(startServer(spec, { folder })).rejects.toThrow(
      /log-unusable.*holds something that is not a log/,
    );
    server = await startServer(spec);
  });
});

describe("flakey", () => {
  it("does the same to the same requests", async () => {
    const images: string[] = [];
    for (let round = 0; round < 2; round++) {
      server = await startServer({
        layers: {
          disk: { file: { path: "disk.img", size: 8 * MIB } },
          liar: {
            flakey: {
              base: "disk",
              seed: 3,
              dropWrites: { probability: 0.2 },
              tornWrites: { probability: 0.2 },
            },
          },
        },
        exports: { data: { layer: "liar", frontend: "nbd" } },
      });
      const writes = Array.from({ length: 100 }, (_, i) => `write -q -P ${i + 1} ${i * 16}k 16k`);
      await qemuIo(server.uri(), ...writes, "flush");
      const { dropWrites, tornWrites } = await counts();
      expect(dropWrites).toBeGreaterThan(5);
      expect(tornWrites).toBeGreaterThan(5);
      images.push(hash(join(server.folder, "disk.img")));
      if (round === 0) await server.close();
    }
    expect(images[1]).toBe(images[0]);
  });
});

describe("cow", () => {
  it("leaves its base as it is, under two exports with changes of their own", async () => {
    const folder = await temporaryFolder();
    const golden = join(folder, "golden.img");
    writeFileSync(golden, Buffer.alloc(8 * MIB, 0x11));
    const before = hash(golden);
    server = await startServer(
      {
        layers: {
          golden: { file: { path: "golden.img", size: 8 * MIB } },
          one: { cow: { base: "golden" } },
          changes: { file: { path: "changes.img", size: 8 * MIB } },
          two: { cow: { base: "golden", overlay: "changes", granule: "64KiB" } },
        },
        exports: { one: { layer: "one", frontend: "nbd" }, two: { layer: "two", frontend: "nbd" } },
      },
      { folder },
    );
    await qemuIoOk(server.uri("one"), "write -P 1 512 1M", "discard 4M 1M", "flush");
    await qemuIoOk(
      server.uri("two"),
      "write -P 2 0 3k",
      "read -P 2 0 3k",
      "read -P 0x11 3k 1M",
      "write -z 1M 100k",
    );
    await qemuIoOk(
      server.uri("one"),
      "read -P 0x11 0 512",
      "read -P 1 512 1M",
      "read -P 0 4M 1M",
      "read -P 0x11 5M 3M",
    );
    expect(
      await server.control({ op: "set", layer: "one", params: { granuleBytes: 4096, reset: "1" } }),
    ).toEqual({
      ok: true,
    });
    await qemuIoOk(server.uri("one"), "read -P 0x11 0 8M");
    await qemuIoOk(server.uri("two"), "read -P 2 0 3k", "read -P 0 1M 100k");
    expect(hash(golden)).toBe(before);
  });
});
