/** The walker that serves requests, called through the addon, against the plain model: random stacks and requests. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Device, TableLayer } from "../../src/compile/table.js";
import { loadNative } from "../../src/native.js";
import { arbitraryTable } from "../compile/arbitrary.js";
import { flushed, INSTRUMENTS, type Live, layerAt, OPS, type Op, places, SECTOR } from "./model.js";

interface Ask {
  root: number;
  op: Op;
  offset: number;
  length: number;
}
type Piece = [layer: number, offset: number, length: number, buffer: number, redirected: 0 | 1];
interface Answer {
  walks: number;
  pieces: (Piece[] | null)[];
}

function walk(device: Device, live: Live, requests: Ask[]): Answer {
  const asked = requests.map((request) => ({ ...request, op: OPS[request.op] }));
  return JSON.parse(loadNative().map(JSON.stringify({ device, live, requests: asked }))) as Answer;
}

const isMirror = (layer: TableLayer) => layer.type === "mirror";
const allOf = (layer: TableLayer) => 2 ** layer.children.length - 1;

const isInstrument = (layer: TableLayer) => INSTRUMENTS.includes(layer.type);
const ALL_OPS = 2 ** Object.keys(OPS).length - 1;

/** Words of every mirror and instrument. */
function arbitraryLive(device: Device): fc.Arbitrary<Live> {
  return fc
    .tuple(arbitraryMirrors(device), arbitraryInstruments(device))
    .map(([mirrors, instruments]) => ({ ...mirrors, ...instruments }));
}

/** Half of them look at nothing, the others at some operations, all over. */
function arbitraryInstruments(device: Device): fc.Arbitrary<Live> {
  const words = device.layers
    .filter(isInstrument)
    .map((layer) =>
      fc
        .oneof(fc.constant(0), fc.integer({ min: 0, max: ALL_OPS }))
        .map((looks) => [layer.name, { looks, windowStart: 0, windowEnd: Number.MAX_SAFE_INTEGER }] as const),
    );
  return fc.tuple(...words).map((entries) => Object.fromEntries(entries));
}

/** Current members are a subset, never empty, of those that take writes. */
function arbitraryMirrors(device: Device): fc.Arbitrary<Live> {
  const words = device.layers.filter(isMirror).map((layer) =>
    fc
      .record({ readable: fc.nat(), more: fc.nat(), open: fc.boolean(), unrecorded: fc.boolean() })
      .map(({ readable, more, open, unrecorded }) => {
        const current = readable & allOf(layer) || 1;
        const writable = (current | more) & allOf(layer);
        return [
          layer.name,
          { readable: current, writable, open, unrecorded, windowStart: 0, windowEnd: 0 },
        ] as const;
      }),
  );
  return fc.tuple(...words).map((entries) => Object.fromEntries(entries));
}

function arbitraryAsk(device: Device): fc.Arbitrary<Ask> {
  return fc.nat(device.layers.length - 1).chain((root) => {
    const sectors = layerAt(device, root).sizeBytes / SECTOR;
    return fc
      .tuple(
        fc.nat(sectors - 1),
        fc.integer({ min: 1, max: Math.min(sectors, 512) }),
        fc.constantFrom<Op>("read", "write", "discard", "writeZeroes", "cache"),
      )
      .map(([start, length, op]) => ({
        root,
        op,
        offset: start * SECTOR,
        length: Math.min(length, sectors - start) * SECTOR,
      }));
  });
}

const arbitraryCase = arbitraryTable()
  .chain(({ devices }) => fc.constantFrom(...devices))
  .chain((device) =>
    fc.record({
      device: fc.constant(device),
      live: arbitraryLive(device),
      asks: fc.array(arbitraryAsk(device), { minLength: 1, maxLength: 8 }),
    }),
  );

/** The places of every sector of the request, by its number. */
function spread(pieces: Piece[], sectors: number) {
  const found = Array.from({ length: sectors }, () => [] as string[]);
  for (const [layer, offset, length, buffer, redirected] of pieces) {
    for (let at = 0; at < length; at += SECTOR) {
      found[(buffer + at) / SECTOR]?.push(`${layer}@${offset + at}${redirected ? " redirected" : ""}`);
    }
  }
  return found;
}

describe("the mapping core", () => {
  it("places every sector where the model says, for random stacks and requests", () => {
    let asked = 0;
    fc.assert(
      fc.property(arbitraryCase, ({ device, live, asks }) => {
        const before = walk(device, live, []).walks;
        const answer = walk(device, live, asks);
        expect(answer.walks - before).toBe(asks.length); // the native code ran, once for each request
        asked += asks.length;
        for (const [index, ask] of asks.entries()) {
          const expected = Array.from({ length: ask.length / SECTOR }, (_, sector) =>
            places(device, live, ask.root, ask.op, ask.offset + sector * SECTOR).map(
              ({ layer, offset, redirected }) => `${layer}@${offset}${redirected ? " redirected" : ""}`,
            ),
          );
          const pieces = answer.pieces[index];
          expect(pieces).not.toBeNull();
          expect(spread(pieces ?? [], expected.length)).toEqual(expected);
          for (const [layer, offset, length] of pieces ?? []) {
            expect(length).toBeGreaterThan(0);
            expect(offset + length).toBeLessThanOrEqual(layerAt(device, layer).sizeBytes);
          }
        }
      }),
      { numRuns: 300 },
    );
    expect(asked).toBeGreaterThan(300);
  });

  it("takes a flush to every leaf that takes writes and is not below an instrument that looks at it, in order", () => {
    fc.assert(
      fc.property(arbitraryCase, ({ device, live }) => {
        const roots = device.layers.keys();
        const asks = [...roots].map((root): Ask => ({ root, op: "flush", offset: 0, length: 0 }));
        const answer = walk(device, live, asks);
        for (const [index, { root }] of asks.entries()) {
          expect(answer.pieces[index]?.map(([layer]) => layer)).toEqual(flushed(device, live, root));
        }
      }),
      { numRuns: 100 },
    );
  });

  it("redirects writes that touch the window of a resync, and only those", () => {
    fc.assert(
      fc.property(
        arbitraryCase.filter(({ device }) => device.layers.some(isMirror)),
        fc.nat(),
        fc.nat(),
        ({ device }, a, b) => {
          const root = device.layers.findIndex(isMirror);
          const mirror = layerAt(device, root);
          const sectors = mirror.sizeBytes / SECTOR;
          const [low, high] = [a % sectors, b % sectors].sort((x, y) => x - y) as [number, number];
          const live: Live = {};
          for (const layer of device.layers.filter(isMirror)) {
            live[layer.name] = {
              readable: 1,
              writable: allOf(layer),
              open: true,
              unrecorded: false,
              windowStart: layer === mirror ? low * SECTOR : 0,
              windowEnd: layer === mirror ? high * SECTOR : 0,
            };
          }
          const ask = (offset: number, length: number): Ask => ({ root, op: "write", offset, length });
          const asks = [
            ask(low * SECTOR, SECTOR),
            ask(0, mirror.sizeBytes),
            ask((sectors - 1) * SECTOR, SECTOR),
          ];
          if (low > 0) asks.push(ask(0, low * SECTOR));
          const answer = walk(device, live, asks);
          for (const [index, { offset, length }] of asks.entries()) {
            const touches = offset < high * SECTOR && offset + length > low * SECTOR;
            const redirected = answer.pieces[index]?.some(([layer, , , , taken]) => taken && layer === root);
            expect(redirected).toBe(touches);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("redirects what touches the range that an instrument looks at, whole, and only that", () => {
    fc.assert(
      fc.property(
        arbitraryCase.filter(({ device }) => device.layers.some(isInstrument)),
        fc.nat(),
        fc.nat(),
        fc.constantFrom<Op>("read", "write", "discard", "writeZeroes", "cache"),
        ({ device, live, asks }, a, b, op) => {
          const root = device.layers.findIndex(isInstrument);
          const layer = layerAt(device, root);
          const sectors = layer.sizeBytes / SECTOR;
          const [low, high] = [a % sectors, b % sectors].sort((x, y) => x - y) as [number, number];
          live[layer.name] = { looks: 2 ** OPS[op], windowStart: low * SECTOR, windowEnd: high * SECTOR };
          const edges = [low - 1, low, high - 1, high].filter((sector) => sector >= 0 && sector < sectors);
          const own = asks.filter((ask) => ask.root === root && ask.op !== "flush");
          const requests = [
            ...edges.map((sector): Ask => ({ root, op, offset: sector * SECTOR, length: SECTOR })),
            { root, op, offset: 0, length: layer.sizeBytes },
            ...own,
          ];
          const answer = walk(device, live, requests);
          for (const [index, ask] of requests.entries()) {
            const touches = ask.offset < high * SECTOR && ask.offset + ask.length > low * SECTOR;
            const whole: Piece = [root, ask.offset, ask.length, 0, 1];
            if (ask.op === op && touches) expect(answer.pieces[index]).toEqual([whole]);
            else expect(answer.pieces[index]?.some(([at]) => at === root)).toBe(false);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it("refuses a table whose members cannot carry it", () => {
    fc.assert(
      fc.property(
        arbitraryCase.filter(({ device }) => (device.layers[0]?.children.length ?? 0) > 0),
        ({ device }) => {
          const broken = structuredClone(device);
          layerAt(broken, 0).sizeBytes += 2 ** 40;
          expect(() => walk(broken, {}, [])).toThrow(/layer/);
          const cyclic = structuredClone(device);
          layerAt(cyclic, 0).children = [0];
          expect(() => walk(cyclic, {}, [])).toThrow(/out of order/);
        },
      ),
      { numRuns: 20 },
    );
  });
});
