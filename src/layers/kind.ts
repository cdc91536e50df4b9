/**
 * What a layer type answers for itself. The registry is the one place that goes from a type's name to its kind;
 * nothing else in src/ asks what type a layer is.
 *
 *   the compiler asks   children, check, sizeBytes, geometry, params, survivesReboot
 *   the planner asks    creatable, place, keeps, copies, head    (do the bytes of a running stack stay where they are?)
 */

import type { DocPath, Finding } from "../spec/finding.js";
import type { LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import type { Geometry } from "./geometry.js";
import type { SeenFile } from "./image.js";
import type { Media } from "./media.js";

/** What a layer's target needs, by the names of its own page in docs; sizes in bytes. */
export type Params = Record<string, string | number | boolean>;

/** A layer as its parent sees it. */
export interface Shape {
  readonly name: string;
  /** Whether it is made of no other layers. */
  readonly leaf: boolean;
  /** Bytes; null while the media have not been looked at and the file does not say. */
  readonly sizeBytes: number | null;
  readonly geometry: Geometry;
  /** Whether the content is still there after a reboot. */
  readonly survivesReboot: boolean;
  /** The one file or device that it is in, where a header could name it; null: it is made of more, or of memory. */
  readonly file: SeenFile | null;
}

/** One layer with what the compiler knows about its surroundings. */
export interface LayerInput<T extends LayerType> {
  readonly layer: LayerSpecOf<T>;
  /** In the order of the members; empty for a leaf. */
  readonly children: readonly Shape[];
  /** A leaf's media, when somebody looked. */
  readonly media: Media | undefined;
  /** Whether it may have any length: it is under a format, and could, as `growable` says. */
  readonly grows: boolean;
  /** Whether anybody writes to it. */
  readonly written: boolean;
}

/** A layer of a table, as far as the planner's questions need it; a TableLayer is one. */
export interface PlacedLayer {
  readonly name: string;
  readonly type: string;
  readonly sizeBytes: number;
  readonly params: Readonly<Params>;
}

/** A layer with all that is below it, devices that it opens included. */
export interface Content {
  readonly layer: PlacedLayer;
  readonly children: readonly Content[];
}

/** Whether the first `bytes` bytes of `before` are at the same offsets of `after`. */
export type Keeps = (before: Content, after: Content, bytes: number) => boolean;

/** What is known about the content that a running or stopped stack has now. */
export interface ContentFacts {
  /** Whether this member of this mirror holds current data (dropped and half-copied ones don't). */
  current(mirror: string, member: string): boolean;
}

export interface LayerKind<T extends LayerType> {
  readonly type: T;
  /**
   * Whether it relies on its children to hold what it has put there or seen there: tables, equal copies, a log. Then
   * their bytes must not change under it. Left out: no.
   */
  readonly remembers?: true;
  /** Names of the layers that this one is made of, in order. */
  children(layer: LayerSpecOf<T>): readonly string[];
  /** Those of them that it never writes to, whatever is written to it; left out: none. */
  onlyReads?(layer: LayerSpecOf<T>): readonly string[];
  /** Of a format: those of them that may have any length, and grow. */
  grows?(layer: LayerSpecOf<T>): readonly string[];
  /** Of a format: those of them that begin with a header of it, or might by mistake. */
  headers?(layer: LayerSpecOf<T>): readonly string[];
  /** Whether it can grow under a format, as it says no size; left out: never. */
  growable?(layer: LayerSpecOf<T>): boolean;
  /** What is wrong with this layer on these children and media, and what is merely unwise. */
  check(input: LayerInput<T>): Finding[];
  /** Bytes; null when it cannot be known before the media are looked at. Never negative, maybe 0 on a bad layer. */
  sizeBytes(input: LayerInput<T>): number | null;
  geometry(input: LayerInput<T>): Geometry;
  /** @param grows as in LayerInput */
  params(layer: LayerSpecOf<T>, grows: boolean): Params;
  /** Names of params that may change while IO runs: the server is told, and nothing restarts. */
  readonly adjustable: readonly string[];
  survivesReboot(children: readonly Shape[]): boolean;
  /** See Shape; left out: none. */
  file?(input: LayerInput<T>): SeenFile | null;

  /** Whether missing media are made by an apply: an empty file of the layer's size, or as madeBytes() says. */
  readonly creatable: boolean;
  madeBytes?(layer: PlacedLayer): number;
  /** A leaf's media as text, equal for equal media; null for a layer that keeps no bytes itself. */
  place(layer: PlacedLayer): string | null;
  /**
   * For two layers of this type; `keeps` answers for the children.
   * @returns undefined when it cannot tell, and `copies` and `head` may: a copy of the one may head the other
   */
  keeps(
    before: Content,
    after: Content,
    bytes: number,
    keeps: Keeps,
    facts: ContentFacts,
  ): boolean | undefined;
  /** The children that each hold all current bytes at the layer's own offsets. */
  copies(content: Content, facts: ContentFacts): readonly Content[];
  /** The child that the first bytes are taken from when the layer is made of existing media; undefined for a leaf. */
  head(content: Content): Content | undefined;
}

/** Where an option stands in the document. */
export function optionPath(layer: LayerSpecOf<LayerType>, ...rest: (string | number)[]): DocPath {
  return [...layer.docPath, layer.type, ...rest];
}
