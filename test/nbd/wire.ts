/** Messages of the NBD protocol as a test writes them: by hand, from the protocol's text, not from the server's code. */

export const OPT = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED: 8,
  LIST_META: 9,
  SET_META: 10,
  EXTENDED: 11,
};
export const REP = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META: 4,
  UNSUP: 0x80000001,
  POLICY: 0x80000002,
  INVALID: 0x80000003,
  UNKNOWN: 0x80000006,
  TOO_BIG: 0x80000009,
};
export const CMD = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
};
export const FLAG = { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16 };
export const ERR = { PERM: 1, IO: 5, INVAL: 22, NOSPC: 28, OVERFLOW: 75, NOTSUP: 95 };

export const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
};
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
export const u64 = (value: bigint | number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
export const text = (value: string): Buffer =>
  Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]);

/** The server's greeting has this many bytes. */
export const GREETING_BYTES = 18;

/** fixed newstyle, no zeroes. */
export const clientFlags = (flags = 3): Buffer => u32(flags);

export const option = (type: number, data: Buffer = Buffer.alloc(0), length = data.length): Buffer =>
  Buffer.concat([Buffer.from("IHAVEOPT"), u32(type), u32(length), data]);

export const go = (name: string, infos: number[] = [], type = OPT.GO): Buffer =>
  option(type, Buffer.concat([text(name), u16(infos.length), ...infos.map(u16)]));

export const metaContext = (type: number, name: string, queries: string[]): Buffer =>
  option(type, Buffer.concat([text(name), u32(queries.length), ...queries.map(text)]));

export interface RequestFields {
  type: number;
  flags?: number;
  cookie?: bigint;
  offset?: bigint | number;
  length?: number;
  magic?: number;
}

export const request = (fields: RequestFields): Buffer =>
  Buffer.concat([
    u32(fields.magic ?? 0x25609513),
    u16(fields.flags ?? 0),
    u16(fields.type),
    u64(fields.cookie ?? 0n),
    u64(fields.offset ?? 0),
    u32(fields.length ?? 0),
  ]);

/** One reply to an option. */
export interface OptionReply {
  option: number;
  type: number;
  data: Buffer;
}

/** Whatever gives bytes in order. */
export interface Source {
  take(bytes: number): Promise<Buffer>;
}

export async function optionReply(source: Source): Promise<OptionReply> {
  const head = await source.take(20);
  if (head.readBigUInt64BE(0) !== 0x3e889045565a9n)
    throw new Error(`not an option reply: ${head.toString("hex")}`);
  return {
    option: head.readUInt32BE(8),
    type: head.readUInt32BE(12),
    data: await source.take(head.readUInt32BE(16)),
  };
}

/** All replies to one option: up to the acknowledgement or an error. */
export async function optionReplies(source: Source): Promise<OptionReply[]> {
  const replies: OptionReply[] = [];
  for (;;) {
    const reply = await optionReply(source);
    replies.push(reply);
    if (reply.type === REP.ACK || reply.type >= 0x80000000) return replies;
  }
}

export interface Reply {
  kind: "simple" | "chunk";
  cookie: bigint;
  /** Of a simple reply, or of an error chunk. */
  error: number;
  /** Of a chunk. */
  type: number;
  done: boolean;
  data: Buffer;
}

/** The next simple reply or chunk. `readBytes`: data that follows a simple reply without an error. */
export async function reply(source: Source, readBytes = 0): Promise<Reply> {
  const magic = (await source.take(4)).readUInt32BE();
  if (magic === 0x67446698) {
    const head = await source.take(12);
    const error = head.readUInt32BE(0);
    const data = error === 0 ? await source.take(readBytes) : Buffer.alloc(0);
    return { kind: "simple", cookie: head.readBigUInt64BE(4), error, type: 0, done: true, data };
  }
  if (magic !== 0x668e33ef) throw new Error(`not a reply: ${magic.toString(16)}`);
  const head = await source.take(16);
  const type = head.readUInt16BE(2);
  const data = await source.take(head.readUInt32BE(12));
  return {
    kind: "chunk",
    cookie: head.readBigUInt64BE(4),
    error: type >= 0x8000 ? data.readUInt32BE(0) : 0,
    type,
    done: (head.readUInt16BE(0) & 1) === 1,
    data,
  };
}
