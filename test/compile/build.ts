/** Stacks written in a few words, for tests of what comes after the text: `stack({ d0: file(MIB), ... }, { data: "safe" })`. */
import { compile, type World } from "../../src/compile/compile.js";
import type { Host, Media } from "../../src/compile/media.js";
import type { Table } from "../../src/compile/table.js";
import type { ExportSpec, LayerOptions, LayerSpec, LayerType, StackSpec } from "../../src/spec/stack-spec.js";

export const KIB = 1024;
export const MIB = 1024 * KIB;

type Part = { type: LayerType; options: LayerOptions[LayerType]; readOnly?: boolean };

export const file = (size: number | null, rest: Partial<LayerOptions["file"]> = {}): Part => ({
  type: "file",
  options: { path: "", size, sizeMax: null, direct: "auto", blockSize: 512, create: "ifMissing", ...rest },
});
export const block = (path: string, size: number | null = null): Part => ({
  type: "block",
  options: { path, size, direct: "auto" },
});
export const memory = (size: number): Part => ({ type: "memory", options: { size, blockSize: 512 } });
export const nothing = (size: number): Part => ({ type: "null", options: { size, blockSize: 512 } });
export const linear = (...members: string[]): Part => ({ type: "linear", options: { members } });
export const mirror = (...members: string[]): Part => ({ type: "mirror", options: { members } });
export const error = (base: string, rest: Partial<LayerOptions["error"]> = {}): Part => ({
  type: "error",
  options: {
    base,
    errno: "EIO",
    ops: ["read", "write", "flush", "discard", "write-zeroes"],
    start: 0,
    length: null,
    probability: 1,
    seed: 0,
    nth: null,
    every: null,
    limit: null,
    up: null,
    down: null,
    ...rest,
  },
});
export const partition = (base: string, offset: number, size: number | null = null): Part => ({
  type: "partition",
  options: { base, offset, size },
});
export const stripe = (chunk: number, ...members: string[]): Part => ({
  type: "stripe",
  options: { members, chunk },
});
export const readOnly = (part: Part): Part => ({ ...part, readOnly: true });

const membersOf = (part: Part | undefined): readonly string[] =>
  part !== undefined && "members" in part.options ? part.options.members : [];

/** Exports are a layer's name, or the name with more. */
type Shown = string | ({ layer: string } & Partial<ExportSpec>);

/** Files without a path are called NAME.img; read-only is inferred as src/spec does. */
export function stack(
  parts: Record<string, Part>,
  exports: Record<string, Shown>,
  rest: Partial<StackSpec> = {},
): StackSpec {
  const isReadOnly = (name: string): boolean =>
    parts[name]?.readOnly === true || membersOf(parts[name]).some(isReadOnly);
  const isMember = (name: string) => Object.values(parts).some((part) => membersOf(part).includes(name));

  const layers = Object.entries(parts).map(([name, { type, options }]): [string, LayerSpec] => {
    const named = "path" in options && options.path === "" ? { ...options, path: `${name}.img` } : options;
    const layer = {
      name,
      type,
      readOnly: isReadOnly(name),
      options: named,
      docPath: ["spec", "layers", name],
    };
    return [name, layer as LayerSpec];
  });
  const entries = Object.entries(exports).map(([name, shown]): [string, ExportSpec] => {
    const more = typeof shown === "string" ? { layer: shown } : shown;
    return [
      name,
      {
        name,
        frontend: "auto",
        ublk: { queues: null, depth: 128, id: null, poll: "auto" },
        owner: null,
        group: null,
        mode: "0600",
        docPath: ["spec", "exports", name],
        ...more,
        readOnly: more.readOnly === true || isReadOnly(more.layer) || isMember(more.layer),
      },
    ];
  });
  return {
    name: "demo",
    compose: "fused",
    engine: "auto",
    nbd: { socket: null, tcp: null },
    layers: new Map(layers),
    exports: new Map(entries),
    ...rest,
  };
}

export const HOST: Host = { ublk: true, cpus: 2 };
export const HOST_WITHOUT_UBLK: Host = { ublk: false, cpus: 2 };

export function world(media: Record<string, Media> = {}, host: Host = HOST): World {
  return { media: new Map(Object.entries(media)), host };
}

/** A disk as most are: 512-byte blocks on 4 KiB physical ones, discards, a cache with FUA. */
export function disk(sizeBytes: number, rest: Partial<Media> = {}): Media {
  return {
    exists: true,
    sizeBytes,
    logicalBlockBytes: 512,
    physicalBlockBytes: 4096,
    ioMinBytes: 4096,
    ioOptBytes: 0,
    discardGranularityBytes: 4096,
    maxDiscardBytes: 2 ** 30,
    maxWriteZeroesBytes: 2 ** 30,
    volatileCache: true,
    fua: true,
    rotational: false,
    ...rest,
  };
}

/** The table of a stack that must be accepted. */
export function tableOf(spec: StackSpec, where: World = world()): Table {
  const { table, findings } = compile(spec, where);
  if (table === null) throw new Error(`refused: ${JSON.stringify(findings, null, 2)}`);
  return table;
}

/** Every finding as "severity code: message", in order. */
export function findingsOf(spec: StackSpec, where: World = world()): string[] {
  return compile(spec, where).findings.map(
    ({ severity, code, message }) => `${severity} ${code}: ${message}`,
  );
}
