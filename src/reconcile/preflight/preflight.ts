/**
 * The edge's look at the world before anything is changed: what the media are, and everything that would make the
 * stack fail later. It changes nothing and leaves nothing behind.
 */

import { resolve } from "node:path";
import type { Media, MediaByLayer } from "../../compile/media.js";
import { usageOf } from "../../compile/usage.js";
import type { ImageFacts } from "../../layers/image.js";
import { optionPath } from "../../layers/kind.js";
import { kindOf } from "../../layers/registry.js";
import type { Finding, LayerSpec, LayerSpecOf, StackSpec } from "../../spec/index.js";
import { deviceRunDir, MAX_SOCKET_PATH_BYTES, memoryFile, nbdSocket, type Paths } from "../paths.js";
import type { StoredStack } from "../store.js";
import { KERNEL_FOLDERS, type KernelFolders } from "./block-device.js";
import { ownerFindings, socketFindings } from "./exports.js";
import { imageAt, type ReadHeader, readHeader } from "./images.js";
import { viewBlock } from "./leaf-blocks.js";
import { findingFor, viewFile } from "./leaf-files.js";
import { type Look, lookAt } from "./look.js";
import { viewMemory } from "./memory.js";
import { traceFindings } from "./traces.js";

export interface PreflightInput {
  readonly spec: StackSpec;
  readonly baseDir: string;
  readonly paths: Paths;
  readonly uid: number;
  /** Every stack that is desired now; the one of the same name is this one as it was. */
  readonly stacks: readonly StoredStack[];
  readonly folders?: KernelFolders;
  readonly readHeader?: ReadHeader;
}

export interface Preflight {
  readonly media: MediaByLayer;
  readonly findings: Finding[];
  /** Absolute paths of files, block devices, memory files and traces by layer name. */
  readonly leafPaths: Readonly<Record<string, string>>;
  /** Names of layers whose file is not there. */
  readonly missing: ReadonlySet<string>;
}

type PathLayer = LayerSpecOf<"file"> | LayerSpecOf<"block">;

export async function preflight(input: PreflightInput): Promise<Preflight> {
  const { spec, baseDir, paths, uid, stacks, folders = KERNEL_FOLDERS } = input;
  const read = input.readHeader ?? readHeader;
  const usage = usageOf(spec);
  const used = new Set(usage.used);
  const layers = [...spec.layers.values()].filter((layer) => used.has(layer.name));
  const pathLayers = layers.filter(hasPath);
  const looks = new Map<PathLayer, Look>();
  for (const layer of pathLayers) looks.set(layer, await lookAt(resolve(baseDir, layer.options.path)));

  const own = stacks.find((stack) => stack.name === spec.name);
  const claims = await claimsOf(stacks.filter((stack) => stack !== own));
  const ours = new Set((await claimsOf(own === undefined ? [] : [own])).keys());
  const media = new Map<string, Media>();
  const withHeader = new Set(layers.flatMap((layer) => kindOf(layer).headers?.(layer) ?? []));
  const findings: Finding[] = [...longNames(spec, paths), ...sameMedia(looks, usage.readOnly)];

  for (const [layer, look] of looks) {
    const writable = !usage.readOnly(layer.name);
    const identity = look.state === "obstructed" ? "" : look.identity;
    const question = { look, grows: usage.grows(layer.name), writable, ours: ours.has(identity), folders };
    const view =
      layer.type === "file"
        ? await viewFile({ layer, ...question })
        : await viewBlock({ layer, ...question });
    findings.push(...view.findings, ...claimFindings(layer, claims.get(identity) ?? [], writable));
    if (view.media === undefined) continue;
    media.set(layer.name, view.media);
    if (!withHeader.has(layer.name)) continue;
    const image = await imageOf(layer, view.media, resolve(baseDir, layer.options.path), read);
    if (image === null) continue;
    if ("code" in image) findings.push(image);
    else media.set(layer.name, { ...view.media, image });
  }

  for (const layer of layers) {
    const path = tracePath(layer, baseDir);
    if (layer.type === "delay" && path !== null) findings.push(...(await traceFindings(layer, path)));
  }

  const memory = await viewMemory({
    layers: layers.filter((layer) => layer.type === "memory"),
    fileOf: (layer) => memoryFile(paths, spec.name, layer),
    folders,
  });
  findings.push(...memory.findings, ...(await ownerFindings(spec, uid)));
  const taken = new Map(
    stacks.filter((stack) => stack !== own).map((stack) => [socketOf(stack, paths), stack.name]),
  );
  findings.push(
    ...(await socketFindings({ spec, baseDir, taken, own: own === undefined ? null : socketOf(own, paths) })),
  );

  const missing = [...looks].flatMap(([layer, look]) => (look.state === "missing" ? [layer.name] : []));
  return {
    media,
    findings,
    leafPaths: Object.fromEntries(layers.flatMap((layer) => leafPath(layer, spec.name, baseDir, paths))),
    missing: new Set([...missing, ...memory.missing]),
  };
}

/** @returns null where the leaf itself says that it is not there */
async function imageOf(
  layer: PathLayer,
  { exists }: Media,
  path: string,
  read: ReadHeader,
): Promise<ImageFacts | Finding | null> {
  if (!exists) return layer.type === "file" && layer.options.create !== "never" ? { kind: "blank" } : null;
  const image = await imageAt(path, read);
  return image.kind === "unreadable" ? findingFor(layer)("permission-denied", image.message) : image;
}

function hasPath(layer: LayerSpec): layer is PathLayer {
  return layer.type === "file" || layer.type === "block";
}

function leafPath(layer: LayerSpec, stack: string, baseDir: string, paths: Paths): [string, string][] {
  if (hasPath(layer)) return [[layer.name, resolve(baseDir, layer.options.path)]];
  if (layer.type === "memory") return [[layer.name, memoryFile(paths, stack, layer.name)]];
  const trace = tracePath(layer, baseDir);
  return trace === null ? [] : [[layer.name, trace]];
}

function tracePath(layer: LayerSpec, baseDir: string): string | null {
  if (layer.type !== "delay" || layer.options.trace === null) return null;
  return resolve(baseDir, layer.options.trace);
}

/** Where the NBD server of a stack listens, absolute. */
export function socketOf(
  { name, table, baseDir }: Pick<StoredStack, "name" | "table" | "baseDir">,
  paths: Paths,
): string {
  const stated = table.devices.find((device) => device.nbd !== null)?.nbd?.socket ?? null;
  return stated === null ? nbdSocket(paths, name) : resolve(baseDir, stated);
}

/** One layer of a stack that has media. */
interface Claim {
  readonly stack: string;
  readonly layer: string;
  readonly writes: boolean;
}

/** A file that one look has missed may be there for the next: made by the other stack, which is being served meanwhile. */
const identitiesOf = (look: Exclude<Look, { state: "obstructed" }>): string[] => [
  ...new Set([look.identity, `path:${look.realPath}`]),
];

/** Who has which media, by identity. */
async function claimsOf(stacks: readonly StoredStack[]): Promise<Map<string, Claim[]>> {
  const claims = new Map<string, Claim[]>();
  for (const stack of stacks) {
    const layers = stack.table.devices.flatMap((device) => device.layers);
    for (const [layer, path] of Object.entries(stack.paths)) {
      const look = await lookAt(path);
      if (look.state === "obstructed") continue;
      const writes = layers.some((entry) => entry.name === layer && !entry.readOnly);
      for (const identity of identitiesOf(look))
        claims.set(identity, [...(claims.get(identity) ?? []), { stack: stack.name, layer, writes }]);
    }
  }
  return claims;
}

function claimFindings(layer: PathLayer, claims: readonly Claim[], writable: boolean): Finding[] {
  const claim = claims.find((entry) => entry.writes || writable);
  if (claim === undefined) return [];
  return [
    {
      path: optionPath(layer, "path"),
      at: "value",
      code: "path-in-use",
      severity: "error",
      message: `"${layer.options.path}" is used by layer "${claim.layer}" of stack "${claim.stack}"`,
    },
  ];
}

/** Two layers whose paths lead to the same media by links; compile compares the texts. */
function sameMedia(looks: ReadonlyMap<PathLayer, Look>, readOnly: (layer: string) => boolean): Finding[] {
  const owners = new Map<string, PathLayer>();
  return [...looks].flatMap(([layer, look]): Finding[] => {
    if (look.state === "obstructed") return [];
    const owner = owners.get(look.identity);
    if (owner === undefined) {
      owners.set(look.identity, layer);
      return [];
    }
    const sameText = owner.type === layer.type && owner.options.path === layer.options.path;
    if (sameText || (readOnly(owner.name) && readOnly(layer.name))) return [];
    return [
      {
        path: optionPath(layer, "path"),
        at: "value",
        code: "path-twice",
        severity: "error",
        message: `"${layer.options.path}" of layer "${layer.name}" leads to the same ${
          look.state === "present" ? look.kind : "file"
        } as "${owner.options.path}" of layer "${owner.name}"`,
        expected: "a path of its own",
      },
    ];
  });
}

/** Sockets have short paths; names and the run folder share them. */
function longNames(spec: StackSpec, paths: Paths): Finding[] {
  const longest = [...spec.layers.keys()].reduce((a, b) => (a.length >= b.length ? a : b), "@nbd");
  const path = `${deviceRunDir(paths, spec.name, longest)}/control.sock`;
  const excess = Buffer.byteLength(path) - MAX_SOCKET_PATH_BYTES;
  if (excess <= 0) return [];
  return [
    {
      path: ["metadata", "name"],
      at: "value",
      code: "out-of-range",
      severity: "error",
      message: `the names of stack "${spec.name}" and layer "${longest}" make socket paths that are ${excess} bytes too long`,
      hint: `shorten one of the two, or choose a shorter run folder than ${paths.runDir} (UBLK_STACK_RUN_DIR)`,
    },
  ];
}
