/**
 * The plain model of the mapping: where one sector of a layer lies. It knows nothing of splitting, frames or walks,
 * and is written from the definitions: linear one after the other, stripe chunks dealt out in turn, mirror everywhere,
 * partition a part of its base, an instrument its base or its handler.
 */
import type { Device, TableLayer } from "../../src/compile/table.js";

export const SECTOR = 512;
export const OPS = { read: 0, write: 1, flush: 2, discard: 3, writeZeroes: 4, cache: 5 } as const;
export type Op = keyof typeof OPS;

export interface MirrorWords {
  readable: number;
  writable: number;
  open: boolean;
  /** A failure is not on record: flushes are handed over. */
  unrecorded: boolean;
  windowStart: number;
  windowEnd: number;
}
/** What an instrument looks at: a set of operations, in one range. */
export interface InstrumentWords {
  looks: number;
  windowStart: number;
  windowEnd: number;
}
/** What a format's handler has said of its units. The model knows only that without any all is the handler's. */
export interface FormatWords {
  unitBytes: number;
  clean: boolean;
  units: [unit: number, place: number, kind: number][];
}
/** By name: every mirror has words; an instrument without looks at nothing, a format without knows nothing. */
export type Live = Record<string, MirrorWords | InstrumentWords | FormatWords>;

/** The layer types that the core knows as instruments; any of them stands for all. */
export const INSTRUMENTS: readonly string[] = ["error"];

/** A sector on a leaf, or at a layer whose handler takes over. */
export interface Place {
  layer: number;
  offset: number;
  redirected: boolean;
}

export function layerAt(device: Device, index: number): TableLayer {
  const layer = device.layers[index];
  if (layer === undefined) throw new Error(`no layer ${index}`);
  return layer;
}

const members = (set: number): number[] =>
  Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => ((set >>> bit) & 1) === 1);

/** Where reads of one MiB go: always the same member, and neighbours spread (Knuth's multiplicative hashing). */
function balanced(offset: number, choices: number[]): number {
  const mixed = BigInt.asUintN(64, BigInt(Math.floor(offset / 2 ** 20)) * 0x9e3779b97f4a7c15n) >> 33n;
  return choices[Number(mixed % BigInt(choices.length))] ?? 0;
}

export function mirrorWords(live: Live, layer: TableLayer): MirrorWords {
  const words = live[layer.name];
  if (words === undefined || !("readable" in words)) throw new Error("a mirror without words");
  return words;
}

/** Whether an instrument looks at this operation at all. */
function looksAt(live: Live, layer: TableLayer, op: Op): boolean {
  const words = live[layer.name];
  return words !== undefined && "looks" in words && ((words.looks >>> OPS[op]) & 1) === 1;
}

/** All places of the sector at `offset` of layer `index`, in the order of members. */
export function places(device: Device, live: Live, index: number, op: Op, offset: number): Place[] {
  const layer = layerAt(device, index);
  const below = (child: number, at: number) => places(device, live, layer.children[child] ?? -1, op, at);
  if (INSTRUMENTS.includes(layer.type)) {
    return looksAt(live, layer, op) ? [{ layer: index, offset, redirected: true }] : below(0, offset);
  }
  switch (layer.type) {
    case "linear": {
      let start = 0;
      for (const [child, childIndex] of layer.children.entries()) {
        const size = layerAt(device, childIndex).sizeBytes;
        if (offset < start + size) return below(child, offset - start);
        start += size;
      }
      throw new Error("behind the end");
    }
    case "stripe": {
      const chunk = Number(layer.params.chunkBytes);
      const nth = Math.floor(offset / chunk);
      const width = layer.children.length;
      return below(nth % width, Math.floor(nth / width) * chunk + (offset % chunk));
    }
    case "mirror": {
      const words = mirrorWords(live, layer);
      if (op === "read" || op === "cache") return below(balanced(offset, members(words.readable)), offset);
      if (!words.open) return [{ layer: index, offset, redirected: true }];
      return members(words.writable)
        .filter((child) => child < layer.children.length)
        .flatMap((child) => below(child, offset));
    }
    case "partition":
      return below(0, Number(layer.params.offsetBytes) + offset);
    default:
      return [{ layer: index, offset, redirected: false }];
  }
}

/** Every leaf that a flush of layer `index` reaches, or layer that is handed it, in order. */
export function flushed(device: Device, live: Live, index: number): number[] {
  const layer = layerAt(device, index);
  if (layer.children.length === 0 || looksAt(live, layer, "flush")) return [index];
  const words = layer.type === "mirror" ? mirrorWords(live, layer) : null;
  if (words?.unrecorded) return [index];
  const writable = words?.writable ?? -1;
  const reached = layer.children.filter((_, child) => ((writable >>> child) & 1) === 1);
  return reached.flatMap((child) => flushed(device, live, child));
}
