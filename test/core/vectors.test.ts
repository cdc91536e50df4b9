/**
 * The vectors of test/vectors, one file per step of the core and one for the leaves, written by hand from the layers'
 * definitions: the native walker and the plain model give these pieces. test/bpf/differential.test.ts gives the same
 * files to the BPF engines.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { Device, TableLayer } from "../../src/compile/table.js";
import { loadNative } from "../../src/native.js";
import {
  type FormatWords,
  flushed,
  INSTRUMENTS,
  type InstrumentWords,
  type Live,
  layerAt,
  type MirrorWords,
  OPS,
  type Op,
  places,
  SECTOR,
} from "./model.js";

type Piece = [layer: number, offset: number, length: number, buffer: number, redirected?: "redirected"];
interface Words {
  readable?: number[];
  writable?: number[];
  open?: boolean;
  unrecorded?: boolean;
  looks?: Op[];
  window?: [number, number];
  clean?: boolean;
  units?: [unit: number, place: number, kind: keyof typeof KINDS][];
}
interface Case {
  name: string;
  layers: {
    type: string;
    sizeBytes: number;
    children?: number[];
    chunkBytes?: number;
    offsetBytes?: number;
    unitBytes?: number;
    wordBits?: number;
  }[];
  live?: Record<string, Words>;
  asks: { op: Op; layer?: number; offset?: number; length?: number; pieces: Piece[] }[];
}

const folder = resolve(import.meta.dirname, "../vectors");
const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
const read = (file: string) =>
  JSON.parse(readFileSync(join(folder, file), "utf8")) as { layer: string; note: string; cases: Case[] };

/** The vectors say `instrument` of all that share its step, and `format` of qcow2. */
const [INSTRUMENT = ""] = INSTRUMENTS;
const TYPES: Record<string, string> = { instrument: INSTRUMENT, format: "qcow2" };
/** enum us_format_kind */
const KINDS = { shared: 1, own: 2, shines: 3 } as const;

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

const imageParams = (children: number, clusterBytes = 0) => ({
  clusterBytes,
  backing: children > 1,
  cacheBytes: 2 ** 25,
});

function deviceOf({ layers }: Case): Device {
  return {
    name: "vector",
    frontend: "ublk",
    layers: layers.map(
      ({ type, sizeBytes, children = [], wordBits: _, ...params }, index): TableLayer => ({
        name: `l${index}`,
        type: TYPES[type] ?? type,
        sizeBytes,
        readOnly: false,
        children,
        geometry,
        params: type === "format" ? imageParams(children.length, params.unitBytes) : params,
      }),
    ),
    exports: [{ name: "vector", root: 0, readOnly: false }],
    ublk: { queues: 1, depth: 128, id: -1 },
    nbd: null,
    access: { owner: null, group: null, mode: "0600" },
    opens: [],
  };
}

const EVERYWHERE: [number, number] = [0, Number.MAX_SAFE_INTEGER];
const setOf = (members: number[]) => members.reduce((set, member) => set + 2 ** member, 0);

function mirrorWords({ children }: TableLayer, given: Words): MirrorWords {
  const all = [...children.keys()];
  const { readable = all, writable = all, open = true, unrecorded = false, window = [0, 0] } = given;
  const [windowStart, windowEnd] = window;
  return { readable: setOf(readable), writable: setOf(writable), open, unrecorded, windowStart, windowEnd };
}

function instrumentWords({ looks = [], window = EVERYWHERE }: Words): InstrumentWords {
  const [windowStart, windowEnd] = window;
  return { looks: setOf(looks.map((op) => OPS[op])), windowStart, windowEnd };
}

function formatWords({ params }: TableLayer, { clean = false, units = [] }: Words): FormatWords {
  return {
    unitBytes: Number(params.clusterBytes),
    clean,
    units: units.map(([unit, place, kind]) => [unit, place, KINDS[kind]]),
  };
}

function liveOf(device: Device, given: Record<string, Words> = {}): Live {
  const live: Live = {};
  for (const [index, layer] of device.layers.entries()) {
    if (layer.type === "mirror") live[layer.name] = mirrorWords(layer, given[index] ?? {});
    if (layer.type === INSTRUMENT) live[layer.name] = instrumentWords(given[index] ?? {});
    if (layer.type === "qcow2") live[layer.name] = formatWords(layer, given[index] ?? {});
  }
  return live;
}

/** Whether the fate of a sector may hang on the rest of its request, or there is none: the model by sector has no answer. */
const beyondModel = (words: Live[string]) =>
  "units" in words ||
  ("looks" in words
    ? words.looks !== 0 && words.windowEnd !== EVERYWHERE[1]
    : words.windowEnd > 0 || words.readable === 0);

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

    // It has not all day, either.
    if (Object.values(live).some(beyondModel)) return;
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
