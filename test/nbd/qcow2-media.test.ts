/**
 * How the layer qcow2 reads and grows the file below: compressed clusters, many at once and in small pieces, and the room that
 * a file accessed directly has ahead of its end.
 */
import { open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { onTmpfs } from "../../src/reconcile/paths.js";
import {
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
const uri = () => server?.uri() ?? "";
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(async () => {
  if (server?.process.exitCode === null && server.process.signalCode === null) await server.stop();
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

const qemuImg = (...args: string[]) => output("qemu-img", args);

async function serve(size: number, file: object = {}): Promise<Server> {
  server = await startServer(
    {
      layers: { base: { file: { path: "disk.qcow2", ...file } }, disk: { qcow2: { base: "base", size } } },
      exports: { data: { layer: "disk", frontend: "nbd" } },
    },
    { folder },
  );
  return server;
}

/** No cluster is like another one, and all of them shrink when they are compressed. */
function content(bytes: number): Buffer {
  const words = new Uint32Array(bytes / 4);
  words.forEach((_, at) => {
    words[at] = at % 3 === 0 ? Math.imul(at, 2654435761) : at >> 10;
  });
  return Buffer.from(words.buffer);
}

describe("compressed clusters", () => {
  it.each([
    ["zlib", 65536],
    ["zstd", 65536],
    ["zlib", 4096],
    ["zstd", 2 * MIB],
  ])("of %s and %i bytes are read in pieces of any size, many at once", async (type, cluster) => {
    await writeFile(path("plain"), content(16 * MIB));
    const options = `compression_type=${type},cluster_size=${cluster}`;
    await qemuImg("convert", "-c", "-O", "qcow2", "-o", options, path("plain"), path("disk.qcow2"));
    await serve(16 * MIB);
    for (const piece of [4096, 65536, MIB]) {
      await output("nbdcopy", [`--request-size=${piece}`, "--requests=32", uri(), path("copy")]);
      expect((await readFile(path("copy"))).equals(content(16 * MIB))).toBe(true);
      await rm(path("copy"));
    }
  });

  it("that are damaged fail all who ask for them, and nobody else", async () => {
    await writeFile(path("plain"), content(MIB));
    await qemuImg("convert", "-c", "-O", "qcow2", path("plain"), path("disk.qcow2"));
    // qemu-img places header, refcounts, L1 and L2 in clusters of their own, and then data.
    const image = await open(path("disk.qcow2"), "r+");
    await image.write(Buffer.alloc(4096, 0xff), 0, 4096, 5 * 65536);
    await image.close();
    await serve(MIB);
    const many = Array.from({ length: 16 }, (_, at) => `aio_read ${at * 4096} 4k`);
    const said = await qemuIoSays(uri(), ...many, "aio_flush", "read 0 64k", "read 64k 512k");
    expect(said.match(/Input\/output error/g)).toHaveLength(17);
    expect(said).toContain("read 524288/524288 bytes at offset 65536");
  });

  it("show what was written over them at once", async () => {
    await writeFile(path("plain"), Buffer.alloc(MIB, 7));
    await qemuImg("convert", "-c", "-O", "qcow2", path("plain"), path("disk.qcow2"));
    await serve(MIB);
    await qemuIoOk(uri(), "read -P 7 0 4k", "write -P 8 0 4k", "read -P 8 0 4k", "read -P 7 4k 60k", "flush");
    await qemuIoOk(uri(), "write -P 9 64k 64k", "flush", "read -P 9 64k 4k", "read -P 7 128k 4k");
    expect(await server?.stop()).toBe(0);
    await qemuImg("check", path("disk.qcow2"));
  });
});

describe.skipIf(onTmpfs(tmpdir()))("a file that grows, accessed directly (on a tmpfs none is)", () => {
  const length = async () => (await stat(path("disk.qcow2"))).size;
  const imageEnd = async () => {
    const { stdout } = await run("qemu-img", ["check", "-U", "--output", "json", path("disk.qcow2")]);
    return (JSON.parse(stdout) as { "image-end-offset": number })["image-end-offset"];
  };

  it("has room ahead while it is served, and ends where the image ends afterwards", async () => {
    await serve(64 * MIB, { direct: "on" });
    await qemuIoOk(uri(), "write -P 1 0 3M", "flush");
    expect(await length()).toBeGreaterThan(4 * MIB);
    await qemuIoOk(uri(), "write -P 2 20M 9M", "read -P 1 0 3M", "read -P 2 20M 9M", "read -P 0 3M 17M");
    expect(await server?.stop()).toBe(0);
    expect(await length()).toBe(await imageEnd());
    await qemuImg("check", path("disk.qcow2"));
  });

  it("keeps its room when the server is killed, for the next one", async () => {
    await serve(64 * MIB, { direct: "on" });
    await qemuIoOk(uri(), "write -P 1 0 3M", "flush");
    await server?.kill();
    const left = await length();
    await serve(64 * MIB, { direct: "on" });
    await qemuIoOk(uri(), "read -P 1 0 3M", "write -P 2 8M 1M", "flush");
    expect(await server?.stop()).toBe(0);
    expect(await length()).toBe(left);
    await serve(64 * MIB, { direct: "on" });
    await qemuIoOk(uri(), "read -P 1 0 3M", "read -P 2 8M 1M", "read -P 0 9M 8M");
    expect(await server?.stop()).toBe(0);
    await qemuImg("check", path("disk.qcow2"));
  });

  it("loses nothing that others have written into its room", async () => {
    await serve(64 * MIB, { direct: "on" });
    await qemuIoOk(uri(), "write -P 1 0 3M", "flush");
    const image = await open(path("disk.qcow2"), "r+");
    const end = 9 * MIB + 4096;
    await image.write(Buffer.alloc(4096, 5), 0, 4096, end - 4096);
    await image.close();
    expect(await server?.stop()).toBe(0);
    expect(await length()).toBe(end);
    expect((await readFile(path("disk.qcow2"))).subarray(end - 4096).every((byte) => byte === 5)).toBe(true);
  });

  it("is no longer than it may be", async () => {
    await serve(24 * MIB, { direct: "on", sizeMax: 4 * MIB });
    await qemuIoOk(uri(), "write -P 1 0 2M", "flush");
    expect(await length()).toBeLessThanOrEqual(4 * MIB);
  });
});
