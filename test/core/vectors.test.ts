/**
 * The vectors of test/vectors, one file per mapping layer and one for the leaves, written by hand from the layers'
 * definitions: the native walker and the plain model give these pieces. test/bpf/differential.test.ts gives the same
 * files to the BPF engines.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { Device, TableLayer } from "../../src/compile/table.js";
import { loadNative } from "../../src/native.js";
import { flushed, type Live, layerAt, OPS, type Op, places, SECTOR } from "./model.js";

type Piece = [layer: number, offset: number, length: number, buffer: number, redirected?: "redirected"];
interface Words {
  readable?: number[];
  writable?: number[];
  open?: boolean;
  window?: [number, number];
}
interface Case {
  name: string;
  layers: { type: string; sizeBytes: number; children?: number[]; chunkBytes?: number }[];
  live?: Record<string, Words>;
  asks: { op: Op; layer?: number; offset?: number; length?: number; pieces: Piece[] }[];
}

const folder = resolve(import.meta.dirname, "../vectors");
const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
const read = (file: string) =>
  JSON.parse(readFileSync(join(folder, file), "utf8")) as { layer: string; note: string; cases: Case[] };

const geometry = {
  logicalBlockBytes: 512,
  physicalBlockBytes: 512,
  ioMinBytes: 512,
  ioOptBytes: 0,
  discardGranularityBytes: 512,
  maxDiscardBytes: 2 ** 30,
  maxWriteZeroesBytes: 2 ** 30,
  volatileCache: true,
  fua: true,
  rotational: false,
};

function deviceOf({ layers }: Case): Device {
  return {
    name: "vector",
    frontend: "ublk",
    layers: layers.map(
      ({ type, sizeBytes, children = [], chunkBytes }, index): TableLayer => ({
        name: `l${index}`,
        type,
        sizeBytes,
        readOnly: false,
        children,
        geometry,
        params: chunkBytes === undefined ? {} : { chunkBytes },
      }),
    ),
    exports: [{ name: "vector", root: 0, readOnly: false }],
    ublk: { queues: 1, depth: 128, id: -1 },
    nbd: null,
    access: { owner: null, group: null, mode: "0600" },
    opens: [],
  };
}

const setOf = (members: number[]) => members.reduce((set, member) => set + 2 ** member, 0);

function liveOf(device: Device, given: Record<string, Words> = {}): Live {
  const mirrors = [...device.layers.entries()].filter(([, { type }]) => type === "mirror");
  return Object.fromEntries(
    mirrors.map(([index, layer]) => {
      const all = [...layer.children.keys()];
      const { readable = all, writable = all, open = true, window = [0, 0] } = given[index] ?? {};
      const [windowStart, windowEnd] = window;
      return [
        layer.name,
        { readable: setOf(readable), writable: setOf(writable), open, windowStart, windowEnd },
      ];
    }),
  );
}

/** Where each sector of the request lies, by the pieces. */
function spread(pieces: Piece[], sectors: number): string[][] {
  const found = Array.from({ length: sectors }, () => [] as string[]);
  for (const [layer, offset, length, buffer, redirected] of pieces) {
    for (let at = 0; at < length; at += SECTOR) {
      found[(buffer + at) / SECTOR]?.push(`${layer}@${offset + at}${redirected ? " redirected" : ""}`);
    }
  }
  return found;
}

describe.each(files)("%s", (file) => {
  const { layer, cases } = read(file);

  it("is of the layer that it is named after", () => {
    expect(`${layer}.json`).toBe(file);
    if (layer !== "leaves") {
      for (const { name, layers } of cases) {
        expect(
          layers.map(({ type }) => type),
          name,
        ).toContain(layer);
      }
    }
  });

  it.each(cases)("$name", (vector) => {
    const device = deviceOf(vector);
    const live = liveOf(device, vector.live);
    const requests = vector.asks.map(({ op, layer: root = 0, offset = 0, length = 0 }) => ({
      root,
      op: OPS[op],
      offset,
      length,
    }));
    const { pieces } = JSON.parse(loadNative().map(JSON.stringify({ device, live, requests })));
    expect(pieces).toEqual(
      vector.asks.map(({ pieces: wanted }) =>
        wanted.map(([index, offset, length, buffer, redirected]) => [
          index,
          offset,
          length,
          buffer,
          redirected ? 1 : 0,
        ]),
      ),
    );

    // The model by sector knows no windows, no mirror that has lost everybody, and has not all day.
    const words = Object.values(live);
    if (words.some(({ windowEnd, readable }) => windowEnd > 0 || readable === 0)) return;
    for (const { op, layer: root = 0, offset = 0, length = 0, pieces: wanted } of vector.asks) {
      if (op === "flush") {
        expect(flushed(device, live, root)).toEqual(wanted.map(([index]) => index));
      } else if (length <= 2 ** 23) {
        expect(layerAt(device, root).sizeBytes).toBeGreaterThanOrEqual(offset + length);
        expect(spread(wanted, length / SECTOR)).toEqual(
          Array.from({ length: length / SECTOR }, (_, sector) =>
            places(device, live, root, op, offset + sector * SECTOR).map(
              (place) => `${place.layer}@${place.offset}${place.redirected ? " redirected" : ""}`,
            ),
          ),
        );
      }
    }
  });
});
