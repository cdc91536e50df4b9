/**
 * One stack as the rest of the program sees it: every default filled in, every size in bytes, every member a name.
 *
 *   text ─ parse.ts ─► document (plain JSON, as published in schema/) ─ normalise.ts ─► StackSpec
 *
 * What a StackSpec promises, so that nobody checks it again:
 *   - members and exports name layers that exist; there is no cycle; no layer is deeper than MAX_DEPTH;
 *   - a layer that is not read-only has one parent at most, and is a member of it once, unless all only read it;
 *   - sizes are positive multiples of the layer's block size, chunks are powers of two from 4 KiB;
 *   - layer and export names are DNS labels, but a layer written in place is called PARENT.INDEX.
 */

import type { DocPath } from "./finding.js";
import type {
  BadblocksLayer,
  BlockLayer,
  Corruption,
  CowLayer,
  Delay,
  DelayLayer,
  Duration,
  ErrorLayer,
  Export,
  Fault,
  FileLayer,
  FlakeyLayer,
  LinearLayer,
  LogwritesLayer,
  Member,
  Members,
  MemoryLayer,
  MirrorLayer,
  NullLayer,
  PartitionLayer,
  Qcow2Layer,
  ReadonlyLayer,
  Size,
  Spec,
  StripeLayer,
  ThrottleLayer,
  Ublk,
  ZeroLayer,
} from "./spec.gen.js";

export type Compose = NonNullable<Spec["compose"]>;
export type Engine = NonNullable<Spec["engine"]>;
export type Poll = NonNullable<Ublk["poll"]>;
export type Frontend = NonNullable<Export["frontend"]>;

/**
 * A value of the document as it is here: sizes and offsets in bytes, durations and delays in nanoseconds, members as names, everything
 * else as it was.
 */
type Plain<V> = [V] extends [Members]
  ? readonly string[]
  : [Member] extends [V]
    ? string
    : [Size] extends [V]
      ? number
      : [V] extends [Duration]
        ? number
        : [Delay] extends [V]
          ? DelaySpec
          : [Corruption] extends [V]
            ? PlainCorruption
            : [Fault] extends [V]
              ? PlainFault
              : V;

/** How long something waits, in nanoseconds; trace: as a file of durations says. */
export type DelaySpec =
  | { readonly kind: "fixed"; readonly ns: readonly [number] }
  | { readonly kind: "uniform" | "normal"; readonly ns: readonly [number, number] }
  | { readonly kind: "trace"; readonly ns: readonly [] };

/** Options with their defaults filled in; null stands for an absent one that has none. */
type Filled<Options, WithoutDefault extends keyof Options = never> = {
  readonly [Key in keyof Options]-?:
    | Plain<NonNullable<Options[Key]>>
    | (Key extends WithoutDefault ? null : never);
};

type PlainFault = Filled<Fault, FaultKeys>;
type PlainCorruption = Filled<Corruption, FaultKeys | "byte" | "value">;

/** The options of each layer type, under the names of the YAML; sizes are bytes. */
export interface LayerOptions {
  /** size null: as long as the file is, or grows under a format. sizeMax null: without a bound. */
  file: Filled<FileLayer, "size" | "sizeMax">;
  /** size null: as large as the device is; otherwise the device must have exactly this size. */
  block: Filled<BlockLayer, "size">;
  memory: Filled<MemoryLayer>;
  null: Filled<NullLayer>;
  linear: Filled<LinearLayer>;
  stripe: Filled<StripeLayer>;
  mirror: Filled<MirrorLayer>;
  /** size null: all that follows the offset. */
  partition: Filled<PartitionLayer, "size">;
  error: Filled<ErrorLayer, FaultKeys>;
  /** discard, writeZeroes null: as write; the others: none. length null: to the end. */
  delay: Filled<DelayLayer, "read" | "write" | "flush" | "discard" | "writeZeroes" | "trace" | "length">;
  /** A burst that is null: as the total's. */
  throttle: Filled<ThrottleLayer, "readBurst" | "writeBurst" | "iopsSize">;
  badblocks: Filled<BadblocksLayer>;
  readonly: Filled<ReadonlyLayer>;
  zero: Filled<ZeroLayer>;
  /** null: a fault that never strikes. */
  flakey: Filled<
    FlakeyLayer,
    keyof { [Key in keyof FlakeyLayer as FlakeyLayer[Key] extends Fault | undefined ? Key : never]: Key }
  >;
  /** overlay null: memory of its own. */
  cow: Filled<CowLayer, "overlay" | "reset">;
  logwrites: Filled<LogwritesLayer, "mark">;
  /** null: as the image says, or QEMU's default where it is made. */
  qcow2: Filled<Qcow2Layer, Exclude<keyof Qcow2Layer, "base" | "create" | "cache">>;
}

/** Options of faults that have no default: schema/layers, targets/chooser.h. */
type FaultKeys = "length" | "nth" | "every" | "limit" | "up" | "down";

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
    readonly poll: Poll;
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
