/** The handshake, word by word: what the protocol promises, and what a client without manners gets. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MIB, RawClient, type Server, startServer } from "./harness.js";
import {
  CMD,
  clientFlags,
  GREETING_BYTES,
  go,
  metaContext,
  OPT,
  option,
  optionReplies,
  optionReply,
  REP,
  reply,
  request,
  text,
  u16,
  u32,
} from "./wire.js";

let server: Server;
beforeAll(async () => {
  server = await startServer({
    layers: {
      a: { file: { path: "a.img", size: MIB } },
      b: { file: { path: "b.img", size: 2 * MIB, blockSize: 4096 } },
    },
    exports: {
      one: { layer: "a", frontend: "nbd" },
      two: { layer: "b", frontend: "nbd", readOnly: true },
    },
  });
});
afterAll(() => server.close());

async function connect(flags = 3): Promise<RawClient> {
  const client = await RawClient.connect(server.socket);
  await client.take(GREETING_BYTES);
  client.send(clientFlags(flags));
  return client;
}

/** Asks one thing and gives the replies, as type and text. */
async function asked(client: RawClient, message: Buffer): Promise<[number, Buffer][]> {
  client.send(message);
  return (await optionReplies(client)).map(({ type, data }) => [type, data]);
}

describe("greeting", () => {
  it("is fixed newstyle without zeroes", async () => {
    const client = await RawClient.connect(server.socket);
    expect((await client.take(GREETING_BYTES)).toString("latin1")).toBe("NBDMAGICIHAVEOPT\0\x03");
    client.close();
  });

  it.each([4, 0x80000003])("lets go of a client with unknown flags %i", async (flags) => {
    const client = await connect(flags);
    expect(await client.rest()).toHaveLength(0);
  });
});

describe("options", () => {
  it("answers every option in turn on one connection", async () => {
    const client = await connect();
    expect(await asked(client, option(OPT.LIST))).toEqual([
      [REP.SERVER, Buffer.concat([text("one"), Buffer.from("layer a of stack test")])],
      [REP.SERVER, Buffer.concat([text("two"), Buffer.from("layer b of stack test")])],
      [REP.ACK, Buffer.alloc(0)],
    ]);
    expect((await asked(client, option(OPT.LIST, Buffer.from("x"))))[0]?.[0]).toBe(REP.INVALID);
    expect((await asked(client, option(OPT.STARTTLS)))[0]?.[0]).toBe(REP.UNSUP);
    expect((await asked(client, option(OPT.EXTENDED)))[0]?.[0]).toBe(REP.UNSUP);
    expect((await asked(client, option(4)))[0]?.[0]).toBe(REP.UNSUP);
    expect((await asked(client, option(0xdeadbeef, Buffer.alloc(65536))))[0]?.[0]).toBe(REP.UNSUP);
    expect((await asked(client, option(OPT.STRUCTURED, Buffer.from("x"))))[0]?.[0]).toBe(REP.INVALID);
    expect(await asked(client, option(OPT.ABORT, Buffer.from("ignored")))).toEqual([
      [REP.ACK, Buffer.alloc(0)],
    ]);
    expect(await client.rest()).toHaveLength(0);
  });

  it("gives the information asked for, and no more", async () => {
    const client = await connect();
    expect((await asked(client, go("two", [], OPT.INFO))).map(([type]) => type)).toEqual([REP.INFO, REP.ACK]);
    const replies = await asked(client, go("two", [3, 1, 2, 77], OPT.INFO));
    const infos = new Map(replies.slice(0, -1).map(([, data]) => [data.readUInt16BE(0), data.subarray(2)]));
    expect(infos.get(0)?.readBigUInt64BE(0)).toBe(BigInt(2 * MIB));
    expect([0, 4, 8].map((at) => infos.get(3)?.readUInt32BE(at))).toEqual([4096, 4096, 32 * MIB]);
    expect(infos.get(1)?.toString()).toBe("two");
    expect(infos.get(2)?.toString()).toBe("layer b of stack test");
    expect(infos.size).toBe(4);
    // has flags, read-only, flush, FUA, multi-conn, cache: no DF without structured replies, nothing that writes.
    expect(infos.get(0)?.readUInt16BE(8)).toBe(0b0101_0000_1111);
    client.close();
  });

  it("refuses what is malformed and goes on", async () => {
    const client = await connect();
    const malformed = [
      option(OPT.GO),
      option(OPT.GO, u32(0)),
      option(OPT.GO, Buffer.concat([u32(0xffffffff), u16(0)])),
      option(OPT.GO, Buffer.concat([text("one"), u16(2), u16(3)])),
      option(OPT.GO, Buffer.concat([text("one"), u16(0), u16(3)])),
      option(OPT.INFO, Buffer.concat([text("x".repeat(4097)), u16(0)])),
    ];
    for (const message of malformed) expect((await asked(client, message))[0]?.[0]).toBe(REP.INVALID);
    for (const name of ["", "One", "one\0", "x".repeat(4096), "tw"]) {
      expect((await asked(client, go(name)))[0]?.[0]).toBe(REP.UNKNOWN);
    }
    expect((await asked(client, go("one"))).at(-1)?.[0]).toBe(REP.ACK);
    client.send(request({ type: CMD.READ, length: 512 }));
    expect((await reply(client, 512)).data).toEqual(Buffer.alloc(512));
    client.close();
  });

  it("needs structured replies for metadata contexts, and selects them for one export", async () => {
    const client = await connect();
    expect((await asked(client, metaContext(OPT.SET_META, "one", ["base:allocation"])))[0]?.[0]).toBe(
      REP.INVALID,
    );
    expect((await asked(client, option(OPT.STRUCTURED)))[0]?.[0]).toBe(REP.ACK);
    const listed = async (queries: string[]) =>
      (await asked(client, metaContext(OPT.LIST_META, "one", queries))).map(([type, data]) =>
        type === REP.META ? data.subarray(4).toString() : type,
      );
    expect(await listed([])).toEqual(["base:allocation", REP.ACK]);
    expect(await listed(["base:"])).toEqual(["base:allocation", REP.ACK]);
    expect(await listed(["base:allocation", "base:allocation"])).toEqual(["base:allocation", REP.ACK]);
    expect(await listed(["base:alloc", "qemu:dirty-bitmap:x", "base:allocation2"])).toEqual([REP.ACK]);
    const malformed = Buffer.concat([text("one"), u32(1000), text("base:")]);
    expect((await asked(client, option(OPT.LIST_META, malformed)))[0]?.[0]).toBe(REP.INVALID);
    expect((await asked(client, metaContext(OPT.SET_META, "none", ["base:allocation"])))[0]?.[0]).toBe(
      REP.UNKNOWN,
    );
    expect(await asked(client, metaContext(OPT.SET_META, "one", ["base:"]))).toEqual([
      [REP.ACK, Buffer.alloc(0)],
    ]);

    // Selected for the other export: no block status here.
    expect((await asked(client, metaContext(OPT.SET_META, "two", ["base:allocation"])))[0]?.[0]).toBe(
      REP.META,
    );
    expect((await asked(client, go("one"))).at(-1)?.[0]).toBe(REP.ACK);
    client.send(request({ type: CMD.BLOCK_STATUS, length: MIB }));
    expect((await reply(client)).error).toBe(22);
    client.close();
  });

  it("serves a client that knows nothing but export names", async () => {
    const old = await connect(0);
    old.send(option(OPT.EXPORT_NAME, Buffer.from("one")));
    const answer = await old.take(8 + 2 + 124);
    expect(answer.readBigUInt64BE(0)).toBe(BigInt(MIB));
    expect(answer.subarray(10).equals(Buffer.alloc(124))).toBe(true);
    old.send(request({ type: CMD.WRITE, offset: 512, length: 512 }), Buffer.alloc(512, 9));
    expect((await reply(old)).error).toBe(0);
    old.send(request({ type: CMD.DISC }));
    expect(await old.rest()).toHaveLength(0);

    const wrong = await connect(3);
    wrong.send(option(OPT.EXPORT_NAME, Buffer.from("three")));
    expect(await wrong.rest()).toHaveLength(0);
  });
});

describe("clients without manners", () => {
  it("hears what is wrong before it is let go", async () => {
    const long = await connect();
    long.send(option(OPT.LIST, Buffer.alloc(0), 65537));
    expect((await optionReply(long)).type).toBe(REP.TOO_BIG);
    expect(await long.rest()).toHaveLength(0);

    const endless = await connect();
    endless.send(Buffer.concat(Array.from({ length: 300 }, () => option(OPT.STARTTLS))));
    const types: number[] = [];
    for (;;) {
      const next = await optionReply(endless).catch(() => undefined);
      if (next === undefined) break;
      types.push(next.type);
    }
    expect(types.slice(0, 256).every((type) => type === REP.UNSUP)).toBe(true);
    expect(types.slice(256)).toEqual([REP.POLICY]);
  });

  it.each([
    ["no magic before an option", Buffer.alloc(64, 0x41)],
    ["the old magic", Buffer.from("NBDMAGIC".repeat(4))],
  ])("is let go at once: %s", async (_name, message) => {
    const client = await connect();
    client.send(message);
    expect(await client.rest()).toHaveLength(0);
  });

  it("leaves in the middle of anything, and nobody notices", async () => {
    const whole = Buffer.concat([
      clientFlags(),
      option(OPT.STRUCTURED),
      go("one", [3]),
      request({ type: CMD.WRITE, length: 4096 }),
    ]);
    for (let cut = 0; cut <= whole.length; cut += 3) {
      const client = await RawClient.connect(server.socket);
      client.send(whole.subarray(0, cut));
      client.socket.end();
      await client.rest();
    }
    expect(server.log()).not.toContain("killed");
    const honest = await connect();
    expect((await asked(honest, go("one"))).at(-1)?.[0]).toBe(REP.ACK);
    honest.close();
  });
});
