/**
 * Mutated conversations for a server that reads them from its standard input: it may refuse and let go, but never die.
 * It is the sanitized server, which every memory error and undefined behaviour ends, and the test with it. Inputs come
 * from a seed, so that a failure can be run again: FUZZ_SEED, FUZZ_RUNS.
 */
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { configure, MIB, serveStream, temporaryFolder } from "./harness.js";
import { CMD, clientFlags, FLAG, go, metaContext, OPT, option, request } from "./wire.js";

const RUNS = Number(process.env.FUZZ_RUNS ?? 150);
const SEED = Number(process.env.FUZZ_SEED ?? 20240229);
const SIZE = 4 * MIB;

const native = resolve(import.meta.dirname, "../../native");
const server = join(native, "build/Sanitized/ublk-stack-server");

let folder: string;
let config: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  // Not synchronously: the build may take minutes, and the test runner takes a silent worker for a dead one.
  await promisify(execFile)("bash", [join(native, "build-sanitized.sh")]);
  config = await configure(folder, {
    layers: {
      a: { file: { path: "a.img", size: SIZE / 2 } },
      b: { file: { path: "b.img", size: SIZE / 2 } },
      s: { stripe: { members: ["a", "b"], chunk: 4096 } },
    },
    exports: { data: { layer: "s", frontend: "nbd" } },
  });
}, 900_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const offset = fc.oneof(
  fc.nat(SIZE / 512).map((n) => BigInt(n * 512)),
  fc.bigInt(0n, 0xffff_ffff_ffff_ffffn),
  fc.constantFrom(0n, BigInt(SIZE), BigInt(SIZE - 512), 0xffff_ffff_ffff_fe00n),
);
const length = fc.oneof(
  fc.nat(256).map((n) => n * 512),
  fc.nat(SIZE),
  fc.constantFrom(0, 1, 511, SIZE, 32 * MIB, 32 * MIB + 1, 0xffffffff),
);
const command = fc
  .record({
    type: fc.oneof({ weight: 9, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
    flags: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(31) }),
    offset,
    length,
  })
  .map((fields) => {
    const head = request(fields);
    // A payload longer than a MiB is cut short: the end of the stream in the middle of it.
    const payload =
      fields.type === CMD.WRITE ? Buffer.alloc(Math.min(fields.length, MIB), 0x5a) : Buffer.alloc(0);
    return Buffer.concat([head, payload]);
  });

const name = fc.oneof(fc.constantFrom("data", "", "other"), fc.string({ maxLength: 40 }));
const anyOption = fc.oneof(
  fc.constant(option(OPT.STRUCTURED)),
  fc.constant(option(OPT.LIST)),
  fc.tuple(name, fc.array(fc.nat(5), { maxLength: 6 })).map(([n, infos]) => go(n, infos, OPT.INFO)),
  fc
    .tuple(
      fc.constantFrom(OPT.LIST_META, OPT.SET_META),
      name,
      fc.array(fc.constantFrom("base:", "base:allocation", "x-y:z"), { maxLength: 4 }),
    )
    .map(([type, n, queries]) => metaContext(type, n, queries)),
  fc
    .tuple(fc.nat(20), fc.uint8Array({ maxLength: 200 }))
    .map(([type, data]) => option(type, Buffer.from(data))),
  fc.tuple(fc.nat(20), fc.nat(0xffffffff)).map(([type, stated]) => option(type, Buffer.alloc(0), stated)),
);

/** A conversation that is right but for its contents. */
const conversation = fc
  .record({
    structured: fc.boolean(),
    options: fc.array(anyOption, { maxLength: 4 }),
    commands: fc.array(command, { maxLength: 12 }),
    goodbye: fc.boolean(),
  })
  .map(({ structured, options, commands, goodbye }) =>
    Buffer.concat([
      clientFlags(),
      ...(structured ? [option(OPT.STRUCTURED), metaContext(OPT.SET_META, "data", ["base:allocation"])] : []),
      ...options,
      go("data", [3]),
      ...commands,
      ...(goodbye ? [request({ type: CMD.DISC })] : []),
    ]),
  );

/** Bytes changed, left out, doubled, cut off: anywhere. */
const mutation = fc.record({
  kind: fc.constantFrom("flip", "set", "remove", "repeat", "cut"),
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
  bytes: fc.nat(64),
  value: fc.nat(255),
});
const mutated = fc
  .tuple(conversation, fc.array(mutation, { minLength: 0, maxLength: 4 }))
  .map(([whole, mutations]) =>
    mutations.reduce((input, { kind, at, bytes, value }) => {
      const begin = Math.floor(at * input.length);
      const end = Math.min(input.length, begin + bytes + 1);
      switch (kind) {
        case "flip": {
          const copy = Buffer.from(input);
          copy[begin] = (copy[begin] ?? 0) ^ (1 << (value % 8));
          return copy;
        }
        case "set":
          return Buffer.from(input).fill(value, begin, end);
        case "remove":
          return Buffer.concat([input.subarray(0, begin), input.subarray(end)]);
        case "repeat":
          return Buffer.concat([input.subarray(0, end), input.subarray(begin)]);
        default:
          return input.subarray(0, begin);
      }
    }, whole),
  );

describe("a server on its standard input", () => {
  it("has an honest conversation", async () => {
    const { status, stdout } = await serveStream(
      server,
      config,
      Buffer.concat([
        clientFlags(),
        go("data"),
        request({ type: CMD.WRITE, length: 512, flags: FLAG.FUA, cookie: 1n }),
        Buffer.alloc(512, 7),
        request({ type: CMD.DISC }),
      ]),
    );
    expect(status).toBe(0);
    expect(stdout.subarray(-16).toString("hex")).toBe("67446698000000000000000000000001");
    const read = await serveStream(
      server,
      config,
      Buffer.concat([clientFlags(), go("data"), request({ type: CMD.READ, length: 512 })]),
    );
    expect(read.status).toBe(0);
    expect(read.stdout.subarray(-512).equals(Buffer.alloc(512, 7))).toBe(true);
  });

  it(`survives ${RUNS} mutated conversations`, { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(mutated, async (input) => {
        const { status, signal, stdout, stderr } = await serveStream(server, config, input);
        expect({
          status,
          signal,
          stderr: /Sanitizer|runtime error|Assertion/.test(stderr) ? stderr : "",
        }).toEqual({
          status: 0,
          signal: null,
          stderr: "",
        });
        expect(stdout.subarray(0, 8).toString()).toBe("NBDMAGIC");
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });
});
