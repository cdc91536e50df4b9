/**
 * One stack as the rest of the program sees it: every default filled in, every size in bytes, every member a name.
 *
 *   text ─ parse.ts ─► document (plain JSON, as published in schema/) ─ normalise.ts ─► StackSpec
 *
 * What a StackSpec promises, so that nobody checks it again:
 *   - members and exports name layers that exist; there is no cycle; no layer is deeper than MAX_DEPTH;
 *   - a layer that is not read-only has one parent at most, and is a member of it once;
 *   - sizes are positive multiples of the layer's block size, chunks are powers of two from 4 KiB;
 *   - layer and export names are DNS labels, but a layer written in place is called PARENT.INDEX.
 */

import type { DocPath } from "./finding.js";

export type Compose = "fused" | "layered";
export type Engine = "auto" | "native";
export type Frontend = "auto" | "ublk" | "nbd";
export type Direct = "auto" | "on" | "off";
export type BlockSize = 512 | 1024 | 2048 | 4096;

/** The options of each layer type, under the names of the YAML; sizes are bytes. */
export interface LayerOptions {
  file: {
    readonly path: string;
    /** null: as long as the file is. */
    readonly size: number | null;
    readonly direct: Direct;
    readonly blockSize: BlockSize;
    readonly create: "ifMissing" | "never";
  };
  block: {
    readonly path: string;
    /** null: as large as the device is. Otherwise the device must have exactly this size. */
    readonly size: number | null;
    readonly direct: Direct;
  };
  memory: { readonly size: number; readonly blockSize: BlockSize };
  null: { readonly size: number; readonly blockSize: BlockSize };
  /** Members are layer names, in order. */
  linear: { readonly members: readonly string[] };
  stripe: { readonly members: readonly string[]; readonly chunk: number };
  mirror: { readonly members: readonly string[] };
}

export type LayerType = keyof LayerOptions;

export interface LayerSpecOf<T extends LayerType> {
  /** The name in the file, or PARENT.INDEX for a layer written in place. */
  readonly name: string;
  readonly type: T;
  /** Said so, or a member is read-only. */
  readonly readOnly: boolean;
  readonly options: LayerOptions[T];
  /** The layer's place in the document; an option is at [...docPath, type, option]. */
  readonly docPath: DocPath;
}

/** Discriminated by `type`. */
export type LayerSpec = { [T in LayerType]: LayerSpecOf<T> }[LayerType];

export interface ExportSpec {
  readonly name: string;
  /** The name of the layer that it shows. */
  readonly layer: string;
  readonly frontend: Frontend;
  /** What is in effect: said so, or the layer is read-only, or another layer is made of it. */
  readonly readOnly: boolean;
  readonly ublk: {
    /** 1 to 4096; null: the compiler chooses by the host's CPUs. */
    readonly queues: number | null;
    /** 1 to 4096 requests in flight per queue. */
    readonly depth: number;
    /** The N of /dev/ublkbN; null: the driver chooses. */
    readonly id: number | null;
  };
  readonly owner: string | null;
  readonly group: string | null;
  /** Four octal digits. */
  readonly mode: string;
  readonly docPath: DocPath;
}

export interface StackSpec {
  readonly name: string;
  readonly compose: Compose;
  readonly engine: Engine;
  /** The one NBD server of the stack. null: the default socket in the run directory; no TCP. */
  readonly nbd: { readonly socket: string | null; readonly tcp: string | null };
  /** In the order of the file; a layer written in place follows its parent. */
  readonly layers: ReadonlyMap<string, LayerSpec>;
  /** In the order of the file; at least one. */
  readonly exports: ReadonlyMap<string, ExportSpec>;
}

/** Levels from an export down to a leaf, both counted: the fixed stack of the engine's walk. */
export const MAX_DEPTH = 8;
/** Members of one layer. */
export const MAX_MEMBERS = 32;
