/** The sockets: who may connect, what becomes of stale ones, TCP only when asked for. */
import { chmod, chown, readdir, readFile, readlink, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  MIB,
  oneFile,
  output,
  qemuIoOk,
  RawClient,
  run,
  type Server,
  startServer,
  temporaryFolder,
} from "./harness.js";
import { CMD, clientFlags, GREETING_BYTES, go, optionReplies, request } from "./wire.js";

const servers: Server[] = [];
const start = async (...args: Parameters<typeof startServer>): Promise<Server> => {
  const server = await startServer(...args);
  servers.push(server);
  return server;
};
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address() as { port: number };
  await new Promise((done) => probe.close(done));
  return port;
}

/** Only root may give a socket to others. */
const isRoot = process.getuid?.() === 0;

describe("the unix socket", () => {
  it("has mode 0600 by default and is gone after the end", async () => {
    const server = await start(oneFile(MIB));
    expect((await stat(server.socket)).mode & 0o777).toBe(0o600);
    expect(await server.stop()).toBe(0);
    await expect(stat(server.socket)).rejects.toThrow("ENOENT");
    expect((await readdir(server.folder)).filter((name) => name.includes("sock"))).toEqual([]);
  });

  it.runIf(isRoot)("has the mode and group of the spec (needs root)", async () => {
    const group = await start(oneFile(MIB), {
      adjust(config) {
        config.table.access.mode = "0660";
        config.table.access.group = "daemon";
      },
    });
    const seen = await stat(group.socket);
    expect(seen.mode & 0o777).toBe(0o660);
    expect(seen.gid).toBe(Number((await output("getent", ["group", "daemon"])).split(":")[2]));
  });

  it("replaces a stale socket and refuses one in use, or anything else of that name", async () => {
    const first = await start(oneFile(MIB));
    first.process.kill("SIGKILL");
    const { pid } = (await first.control({ op: "status" })) as { pid: number };
    process.kill(pid, "SIGKILL");
    await first.stop();
    servers.splice(0);
    expect((await stat(first.socket)).isSocket()).toBe(true);
    const second = await start(oneFile(MIB), { folder: first.folder });
    await qemuIoOk(second.uri(), "write -P 1 0 4k", "read -P 1 0 4k");

    const elsewhere = (socket: string) => (config: { runtime: { nbdSocket?: string } }) => {
      config.runtime.nbdSocket = socket;
    };
    await expect(startServer(oneFile(MIB), { adjust: elsewhere(second.socket) })).rejects.toThrow(
      /another server listens on/,
    );
    const file = join(second.folder, "not-a-socket");
    await writeFile(file, "precious");
    await expect(startServer(oneFile(MIB), { adjust: elsewhere(file) })).rejects.toThrow(/is not a socket/);
    expect((await stat(file)).size).toBe(8);
    await expect(startServer(oneFile(MIB), { adjust: elsewhere("/nowhere/x.sock") })).rejects.toThrow(
      /No such file/,
    );
  });

  it("may have a path longer than a socket's address can hold", async () => {
    const server = await start(oneFile(MIB), {
      adjust(config) {
        config.runtime.nbdSocket = join(String(config.runtime.runDir), `${"long".repeat(40)}.sock`);
      },
    });
    // Clients reach it by a shorter way.
    const name = `${"long".repeat(40)}.sock`;
    expect(
      await output("nbdinfo", ["--size", `nbd+unix:///?socket=${name}`], server.folder).catch(
        (error: Error) => error.message,
      ),
    ).toMatch(new RegExp(`^${MIB}|too long`));
    expect((await stat(join(server.folder, name))).isSocket()).toBe(true);
  });

  it.runIf(isRoot)("lets in nobody but its owner (needs root)", async () => {
    const server = await start(oneFile(MIB));
    await chmod(server.folder, 0o755);
    const asNobody = (socket: string) =>
      run("setpriv", [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "nbdinfo",
        "--size",
        `nbd+unix:///?socket=${socket}`,
      ]);
    expect((await asNobody(server.socket)).stderr).toContain("Permission denied");
    await chown(server.socket, 65534, 65534);
    expect((await asNobody(server.socket)).stdout.trim()).toBe(String(MIB));
  });
});

describe("TCP", () => {
  it("is served when the configuration names an address, beside the unix socket", async () => {
    const port = await freePort();
    const server = await start(oneFile(4 * MIB), {
      adjust(config) {
        config.runtime.tcp = `127.0.0.1:${port}`;
      },
    });
    await qemuIoOk(`nbd://127.0.0.1:${port}/data`, "write -P 3 0 4M", "flush");
    await qemuIoOk(server.uri(), "read -P 3 0 4M");
    const taken = startServer(oneFile(MIB), {
      adjust(config) {
        config.runtime.tcp = `127.0.0.1:${port}`;
      },
    });
    await expect(taken).rejects.toThrow(/Address already in use/);
  });

  it("is not served otherwise", async () => {
    const server = await start(oneFile(MIB));
    const { pid } = (await server.control({ op: "status" })) as { pid: number };
    const held = new Set<string>();
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      // The connection that has just told the pid may be gone by now.
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      held.add(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? "");
    }
    expect(held.size).toBeGreaterThan(1);
    for (const table of ["tcp", "tcp6"]) {
      const rows = (await readFile(`/proc/${pid}/net/${table}`, "utf8")).trim().split("\n").slice(1);
      expect(rows.filter((row) => held.has(row.trim().split(/\s+/)[9] ?? "none"))).toEqual([]);
    }
  });
});

describe("the end of a server", () => {
  it("finishes every answer that it has begun, and then closes", async () => {
    const server = await start(oneFile(64 * MIB));
    const bytes = 256 << 10;
    const client = await RawClient.connect(server.socket);
    await client.take(GREETING_BYTES);
    client.send(clientFlags(), go("data"));
    await optionReplies(client);
    client.send(
      ...Array.from({ length: 200 }, (_, i) =>
        request({ type: CMD.READ, cookie: BigInt(i), offset: i * bytes, length: bytes }),
      ),
    );
    await client.take(16 + bytes);
    const stopped = server.stop();
    const rest = await client.rest();
    expect(await stopped).toBe(0);
    expect(rest.length % (16 + bytes)).toBe(0);
    for (let at = 0; at < rest.length; at += 16 + bytes) {
      expect(rest.readUInt32BE(at)).toBe(0x67446698);
      expect(rest.readUInt32BE(at + 4)).toBe(0);
    }
  });

  it("comes in spite of clients that neither speak nor listen", async () => {
    const server = await start(oneFile(64 * MIB));
    const silent = await RawClient.connect(server.socket);
    const deaf = await RawClient.connect(server.socket);
    await deaf.take(GREETING_BYTES);
    deaf.send(clientFlags(), go("data"));
    await optionReplies(deaf);
    deaf.socket.pause();
    for (let i = 0; i < 16; i++) deaf.send(request({ type: CMD.READ, length: 8 * MIB }));
    await expect
      .poll(async () => (await server.control({ op: "status" })).exports, { interval: 10 })
      .toEqual([{ name: "data", clients: 1 }]);
    expect(await server.stop()).toBe(0);
    silent.close();
    deaf.close();
  });
});

describe("a killed server", () => {
  it("is there again for clients that come back, with everything that was flushed", async () => {
    const folder = await temporaryFolder();
    const server = await start(oneFile(8 * MIB), { folder });
    for (let round = 1; round <= 3; round++) {
      await qemuIoOk(server.uri(), `write -P ${round} ${round}M 1M`, "flush");
      const { pid } = (await server.control({ op: "status" })) as { pid: number };
      process.kill(pid, "SIGKILL");
      await expect
        .poll(async () => (await run("nbdinfo", ["--size", server.uri()])).status, {
          timeout: 30_000,
          interval: 20,
        })
        .toBe(0);
      for (let before = 1; before <= round; before++)
        await qemuIoOk(server.uri(), `read -P ${before} ${before}M 1M`);
    }
  });
});
