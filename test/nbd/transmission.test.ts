/** Requests and replies, byte by byte: errors with their place, limits, and what happens beside each other. */
import { randomBytes } from "node:crypto";
import { open, readFile, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MIB, oneFile, output, RawClient, type Server, startServer } from "./harness.js";
import {
  CMD,
  clientFlags,
  ERR,
  FLAG,
  GREETING_BYTES,
  go,
  metaContext,
  OPT,
  option,
  optionReplies,
  REP,
  type Reply,
  type RequestFields,
  reply,
  request,
} from "./wire.js";

async function connect(
  server: Server,
  options: { structured?: boolean; name?: string } = {},
): Promise<RawClient> {
  const name = options.name ?? "data";
  const client = await RawClient.connect(server.socket);
  await client.take(GREETING_BYTES);
  client.send(clientFlags());
  if (options.structured) {
    client.send(option(OPT.STRUCTURED));
    await optionReplies(client);
    client.send(metaContext(OPT.SET_META, name, ["base:allocation"]));
    await optionReplies(client);
  }
  client.send(go(name));
  expect((await optionReplies(client)).at(-1)?.type).toBe(REP.ACK);
  return client;
}

/** One request and all that is said to it. */
async function ask(client: RawClient, fields: RequestFields, payload = Buffer.alloc(0)): Promise<Reply[]> {
  client.send(request(fields), payload);
  const replies: Reply[] = [];
  do replies.push(await reply(client, fields.type === CMD.READ ? (fields.length ?? 0) : 0));
  while (replies.at(-1)?.done !== true);
  return replies;
}

const errorOf = async (...args: Parameters<typeof ask>): Promise<number> =>
  (await ask(...args)).at(-1)?.error ?? -1;

/** The content chunks of a read put together; every byte must be there once. */
function assemble(replies: Reply[], offset: number, length: number): Buffer {
  const whole = Buffer.alloc(length, 0xee);
  let bytes = 0;
  for (const { type, data } of replies) {
    if (type !== 1) continue;
    data.copy(whole, Number(data.readBigUInt64BE(0)) - offset, 8);
    bytes += data.length - 8;
  }
  expect(bytes).toBe(length);
  return whole;
}

describe("a writable export of 64 MiB", () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer(oneFile(64 * MIB));
  });
  afterAll(() => server.close());

  it("refuses what is out of range, unaligned, too long or unknown, and goes on", async () => {
    for (const structured of [false, true]) {
      const client = await connect(server, { structured });
      const end = 64 * MIB;
      const cases: [RequestFields, number][] = [
        [{ type: CMD.READ, offset: end, length: 512 }, ERR.INVAL],
        [{ type: CMD.READ, offset: end - 512, length: 1024 }, ERR.INVAL],
        [{ type: CMD.READ, offset: 0xffff_ffff_ffff_fe00n, length: 1024 }, ERR.INVAL],
        [{ type: CMD.READ, offset: 1, length: 512 }, ERR.INVAL],
        [{ type: CMD.READ, length: 511 }, ERR.INVAL],
        [{ type: CMD.READ, length: 32 * MIB + 512 }, ERR.INVAL],
        [{ type: CMD.READ, length: 512, flags: FLAG.NO_HOLE }, ERR.INVAL],
        [{ type: CMD.READ, length: 32 * MIB + 512, flags: FLAG.DF }, structured ? ERR.OVERFLOW : ERR.INVAL],
        [{ type: CMD.TRIM, offset: end, length: 512 }, ERR.INVAL],
        [{ type: CMD.TRIM, length: 512, flags: FLAG.FAST_ZERO }, ERR.INVAL],
        [{ type: CMD.WRITE_ZEROES, offset: end, length: 512 }, ERR.NOSPC],
        [{ type: CMD.WRITE_ZEROES, offset: 3, length: 512 }, ERR.INVAL],
        [{ type: CMD.CACHE, offset: end, length: 512 }, ERR.INVAL],
        [{ type: CMD.FLUSH, offset: 512 }, ERR.INVAL],
        [{ type: CMD.FLUSH, length: 512 }, ERR.INVAL],
        [{ type: CMD.BLOCK_STATUS, offset: end, length: 512 }, ERR.INVAL],
        [{ type: CMD.BLOCK_STATUS, length: 0 }, ERR.INVAL],
        [{ type: 8 }, ERR.INVAL],
        [{ type: 0xffff, flags: 0xffff }, ERR.INVAL],
      ];
      for (const [fields, error] of cases) {
        const cookie = BigInt(Math.floor(Math.random() * 2 ** 48));
        const replies = await ask(client, { ...fields, cookie });
        expect([fields, replies.at(-1)?.error, replies.at(-1)?.cookie]).toEqual([fields, error, cookie]);
        expect(replies).toHaveLength(1);
        // A read is never answered by a simple reply once structured ones were agreed on.
        if (structured) expect(replies[0]?.kind).toBe("chunk");
      }
      // A refused write's payload is taken off the stream.
      for (const [fields, error] of [
        [{ type: CMD.WRITE, offset: end - 512, length: 1024 }, ERR.NOSPC],
        [{ type: CMD.WRITE, offset: 1, length: 512 }, ERR.INVAL],
        [{ type: CMD.WRITE, length: 512, flags: FLAG.DF }, ERR.INVAL],
        [{ type: CMD.WRITE, length: 33 * MIB }, ERR.INVAL],
      ] as const) {
        expect(await errorOf(client, fields, Buffer.alloc(fields.length, 0x25))).toBe(error);
      }
      expect(await errorOf(client, { type: CMD.FLUSH })).toBe(0);
      client.close();
    }
  });

  it("answers requests for no bytes", async () => {
    for (const structured of [false, true]) {
      const client = await connect(server, { structured });
      for (const type of [CMD.READ, CMD.WRITE, CMD.TRIM, CMD.WRITE_ZEROES, CMD.CACHE])
        expect(await errorOf(client, { type, length: 0 })).toBe(0);
      client.close();
    }
  });

  it("reads and writes 32 MiB in one request, in chunks, in one chunk and in a simple reply", async () => {
    const data = randomBytes(32 * MIB);
    const writer = await connect(server);
    expect(
      await errorOf(writer, { type: CMD.WRITE, offset: 512, length: data.length, flags: FLAG.FUA }, data),
    ).toBe(0);
    expect(
      (await readFile(join(server.folder, "disk.img"))).subarray(512, 512 + data.length).equals(data),
    ).toBe(true);
    const fields = { type: CMD.READ, offset: 512, length: data.length };
    expect((await ask(writer, fields))[0]?.data.equals(data)).toBe(true);
    writer.close();

    const reader = await connect(server, { structured: true });
    const chunks = await ask(reader, fields);
    expect(chunks.length).toBeGreaterThan(1);
    expect(assemble(chunks, 512, data.length).equals(data)).toBe(true);
    const unfragmented = await ask(reader, { ...fields, flags: FLAG.DF });
    expect(unfragmented).toHaveLength(1);
    expect(assemble(unfragmented, 512, data.length).equals(data)).toBe(true);
    reader.close();
  });

  it("gives every reply its own cookie when hundreds of requests arrive at once", async () => {
    const client = await connect(server);
    const count = 700;
    const blocks = Array.from({ length: count }, () => randomBytes(4096));
    client.send(
      ...blocks.flatMap((block, i) => [
        request({ type: CMD.WRITE, cookie: BigInt(i), offset: i * 4096, length: 4096 }),
        block,
      ]),
    );
    const written = new Set<bigint>();
    for (let i = 0; i < count; i++) {
      const { cookie, error } = await reply(client);
      expect(error).toBe(0);
      written.add(cookie);
    }
    expect(written.size).toBe(count);
    client.send(
      ...blocks.map((_, i) => request({ type: CMD.READ, cookie: BigInt(i), offset: i * 4096, length: 4096 })),
    );
    for (let i = 0; i < count; i++) {
      const { cookie, data } = await reply(client, 4096);
      expect(blocks[Number(cookie)]?.equals(data)).toBe(true);
    }
    client.close();
  });

  it("tells the status of blocks, as one extent when asked", async () => {
    const client = await connect(server, { structured: true });
    await ask(client, { type: CMD.WRITE_ZEROES, length: 64 * MIB });
    await ask(client, { type: CMD.WRITE, offset: MIB, length: 4096 }, Buffer.alloc(4096, 1));
    const extents = ({ data }: Reply) =>
      Array.from({ length: (data.length - 4) / 8 }, (_, i) => [
        data.readUInt32BE(4 + i * 8),
        data.readUInt32BE(8 + i * 8),
      ]);
    const [all] = await ask(client, { type: CMD.BLOCK_STATUS, length: 2 * MIB });
    expect(all?.type).toBe(5);
    expect(extents(all as Reply)).toEqual([
      [MIB, 3],
      [4096, 0],
      [MIB - 4096, 3],
    ]);
    const [one] = await ask(client, {
      type: CMD.BLOCK_STATUS,
      offset: 512,
      length: 2 * MIB - 512,
      flags: FLAG.REQ_ONE,
    });
    expect(extents(one as Reply)).toEqual([[MIB - 512, 3]]);
    client.close();
  });

  it("rounds a trim inwards and may be asked to be fast", async () => {
    const client = await connect(server);
    await ask(client, { type: CMD.WRITE, length: 4096 }, Buffer.alloc(4096, 7));
    expect(await errorOf(client, { type: CMD.TRIM, offset: 100, length: 200 })).toBe(0);
    expect(await errorOf(client, { type: CMD.TRIM, offset: 500, length: 1500, flags: FLAG.FUA })).toBe(0);
    const { data } = (await ask(client, { type: CMD.READ, length: 4096 }))[0] as Reply;
    expect(data.subarray(0, 512).equals(Buffer.alloc(512, 7))).toBe(true);
    expect(data.subarray(512, 1536).equals(Buffer.alloc(1024))).toBe(true);
    expect(data.subarray(1536).equals(Buffer.alloc(2560, 7))).toBe(true);
    expect([0, ERR.NOTSUP]).toContain(
      await errorOf(client, { type: CMD.WRITE_ZEROES, length: MIB, flags: FLAG.FAST_ZERO | FLAG.NO_HOLE }),
    );
    client.close();
  });

  it("lets go of a stream that is not NBD any more", async () => {
    const client = await connect(server);
    client.send(request({ type: CMD.READ, magic: 0x12560953, length: 512 }));
    expect(await client.rest()).toHaveLength(0);
  });

  it("finishes what was asked for before a disconnect or the end of the stream", async () => {
    for (const last of [request({ type: CMD.DISC }), Buffer.alloc(0)]) {
      const client = await connect(server);
      client.send(
        request({ type: CMD.READ, length: 8 * MIB }),
        request({ type: CMD.READ, length: 512, cookie: 5n }),
        last,
      );
      if (last.length === 0) client.socket.end();
      const got = await client.rest();
      expect(got).toHaveLength(8 * MIB + 512 + 2 * 16);
    }
  });

  it("does not let a client that never reads hold up another, nor its memory grow", async () => {
    const resident = async () => (await server.control({ op: "status" })).rssBytes as number;
    const before = await resident();
    const deaf = await connect(server);
    deaf.socket.pause();
    for (let i = 0; i < 64; i++) deaf.send(request({ type: CMD.READ, cookie: BigInt(i), length: 8 * MIB }));
    const other = await connect(server);
    for (let i = 0; i < 50; i++) {
      expect((await ask(other, { type: CMD.READ, offset: i * 4096, length: 4096 }))[0]?.data).toHaveLength(
        4096,
      );
    }
    // Asked for: 512 MiB. In memory: one request, which may be gathered as a whole, and what the budget allows.
    expect((await resident()) - before).toBeLessThan(32 * MIB);
    other.close();
    deaf.close();
  });
});

describe("a read-only export", () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({
      layers: { a: { file: { path: "a.img", size: MIB } } },
      exports: { data: { layer: "a", frontend: "nbd", readOnly: true } },
    });
  });
  afterAll(() => server.close());

  it("answers EPERM to everything that writes and takes the payload off the stream", async () => {
    const client = await connect(server);
    expect(await errorOf(client, { type: CMD.WRITE, length: MIB }, Buffer.alloc(MIB, 0x25))).toBe(ERR.PERM);
    for (const type of [CMD.TRIM, CMD.WRITE_ZEROES])
      expect(await errorOf(client, { type, length: 512 })).toBe(ERR.PERM);
    expect(await errorOf(client, { type: CMD.FLUSH })).toBe(0);
    expect((await ask(client, { type: CMD.READ, length: 512 }))[0]?.data.equals(Buffer.alloc(512))).toBe(
      true,
    );
    client.close();
  });
});

describe("a file truncated underneath", () => {
  it("fails the bytes that are gone, tells where, and counts it", async () => {
    const server = await startServer({
      layers: {
        a: { file: { path: "a.img", size: 4 * MIB } },
        b: { file: { path: "b.img", size: 4 * MIB } },
        s: { stripe: { members: ["a", "b"], chunk: MIB } },
      },
      exports: { data: { layer: "s", frontend: "nbd" } },
    });
    try {
      const handle = await open(join(server.folder, "a.img"), "r+");
      await handle.write(Buffer.alloc(4 * MIB, 5));
      await handle.close();
      await truncate(join(server.folder, "b.img"), 4096);

      // Bytes 1 MiB to 2 MiB of the stripe are b's: 4096 of them are left.
      const client = await connect(server, { structured: true });
      const replies = await ask(client, { type: CMD.READ, length: 3 * MIB });
      const last = replies.at(-1);
      expect(last?.type).toBe(0x8002);
      expect(last?.error).toBe(ERR.IO);
      const place = last?.data.readBigUInt64BE(last.data.length - 8);
      expect(place).toBe(BigInt(MIB + 4096));
      const good = replies
        .filter(({ type }) => type === 1)
        .map(({ data }) => [Number(data.readBigUInt64BE(0)), data.length - 8] as const);
      const covered = good.reduce((sum, [, bytes]) => sum + bytes, 0);
      expect(covered).toBe(2 * MIB + 4096);
      expect(good.every(([at, bytes]) => at + bytes <= MIB + 4096 || at >= 2 * MIB)).toBe(true);

      const simple = await connect(server);
      expect(await errorOf(simple, { type: CMD.READ, length: 3 * MIB })).toBe(ERR.IO);
      expect((await ask(simple, { type: CMD.READ, length: MIB }))[0]?.data.equals(Buffer.alloc(MIB, 5))).toBe(
        true,
      );
      const status = (await server.control({ op: "status" })) as {
        layers: { name: string; errors: object }[];
      };
      expect(status.layers.find(({ name }) => name === "b")?.errors).toHaveProperty("EIO");
      expect(server.log()).toContain(join(server.folder, "b.img"));
      client.close();
      simple.close();
    } finally {
      await server.close();
    }
  });
});

describe("a full file system", () => {
  it("is told as ENOSPC to the client", async () => {
    const server = await startServer(oneFile(MIB), {
      adjust(config) {
        for (const layer of config.table.layers) layer.params.direct = "off";
      },
    });
    try {
      // The server's own limit on the length of files stands for the full disk: EFBIG, which the protocol calls ENOSPC.
      await output("prlimit", ["--fsize=4096:4096", `--pid=${await workerOf(server)}`]);
      const client = await connect(server);
      expect(await errorOf(client, { type: CMD.WRITE, offset: 8192, length: 4096 }, Buffer.alloc(4096))).toBe(
        ERR.NOSPC,
      );
      expect(await errorOf(client, { type: CMD.WRITE, length: 4096 }, Buffer.alloc(4096, 1))).toBe(0);
      client.close();
    } finally {
      await server.close();
    }
  });
});

async function workerOf(server: Server): Promise<number> {
  return Number((await server.control({ op: "status" })).pid);
}
