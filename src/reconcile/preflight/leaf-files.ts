/** Findings about the path of one file layer. */

import { dirname } from "node:path";
import type { Media } from "../../compile/media.js";
import { exactBytes } from "../../layers/bytes.js";
import { DEFAULT_MAX_DISCARD_BYTES } from "../../layers/geometry.js";
import { optionPath } from "../../layers/kind.js";
import { PAGE_BYTES } from "../../layers/leaf.js";
import type { Finding, LayerSpecOf } from "../../spec/index.js";
import { blockSizeBelow, type KernelFolders, loopOf } from "./block-device.js";
import { accessError, type Look, longestFile, type Missing, type Present } from "./look.js";

export interface LeafView {
  readonly findings: Finding[];
  /** Left out where a finding already says why there are none. */
  readonly media?: Media;
}

export interface LeafQuestion<T extends "file" | "block"> {
  readonly layer: LayerSpecOf<T>;
  readonly look: Look;
  /** Whether it may have any length, as a format stands on it. */
  readonly grows: boolean;
  /** Whether anybody will write to the layer. */
  readonly writable: boolean;
  /** Whether a server of this very stack has it open. */
  readonly ours: boolean;
  readonly folders: KernelFolders;
}

export async function viewFile(question: LeafQuestion<"file">): Promise<LeafView> {
  const { layer, look } = question;
  const finding = findingFor(layer);
  switch (look.state) {
    case "obstructed": {
      const denied = look.errno === "EACCES";
      return { findings: [finding(denied ? "permission-denied" : "path-missing", look.message)] };
    }
    case "missing":
      return viewMissing(question, look, finding);
    case "present":
      return viewPresent(question, look, finding);
  }
}

/** Makes findings about a layer's path. */
export function findingFor(layer: LayerSpecOf<"file"> | LayerSpecOf<"block">) {
  return (code: Finding["code"], message: string, hint?: string): Finding => ({
    path: optionPath(layer, "path"),
    at: "value",
    code,
    severity: "error",
    message,
    ...(hint === undefined ? {} : { hint }),
  });
}

type MakeFinding = ReturnType<typeof findingFor>;

async function viewMissing(
  { layer, grows, folders }: LeafQuestion<"file">,
  look: Missing,
  finding: MakeFinding,
): Promise<LeafView> {
  const media = fileMedia(false, 0, await blockSizeBelow(look.device, folders));
  const { create, path } = layer.options;
  const size = grows ? 0 : layer.options.size;
  // Compile says the rest: neither is going to be made.
  if (size === null || create === "never") return { findings: [], media };
  const folder = dirname(look.realPath);
  const denied = await accessError(folder, "create");
  if (denied === "EROFS") {
    return {
      findings: [
        finding("permission-denied", `"${path}" cannot be made: "${folder}" is on a read-only file system`),
      ],
    };
  }
  if (denied !== null) {
    return { findings: [finding("permission-denied", `not allowed to make files in "${folder}"`)] };
  }
  const longest = await longestFile(folder);
  if (longest !== null && size > longest.bytes) {
    const findings = [
      tooLarge(layer, `a file of ${exactBytes(size)} is longer than ${longest.name} takes`, longest.bytes),
    ];
    return { findings };
  }
  return { findings: [], media };
}

function tooLarge(layer: LayerSpecOf<"file">, message: string, mostBytes: number): Finding {
  return {
    path: optionPath(layer, "size"),
    at: "value",
    code: "file-too-large",
    severity: "error",
    message,
    expected: `at most ${exactBytes(mostBytes)}`,
  };
}

async function viewPresent(
  { layer, writable, ours, folders }: LeafQuestion<"file">,
  look: Present,
  finding: MakeFinding,
): Promise<LeafView> {
  const { path } = layer.options;
  if (look.kind !== "file") {
    const hint =
      look.kind === "block device" ? "for a disk or partition use the layer type block" : undefined;
    return { findings: [finding("not-a-file", `"${path}" is a ${look.kind}, not a regular file`, hint)] };
  }
  const denied = await accessError(look.realPath, writable ? "write" : "read");
  if (denied === "EROFS") {
    const message = `"${path}" is on a read-only file system`;
    return { findings: [finding("permission-denied", message, "readOnly: true serves it without writing")] };
  }
  if (denied !== null) {
    const verb = writable ? "read and write" : "read";
    return { findings: [finding("permission-denied", `not allowed to ${verb} "${path}"`)] };
  }
  if (!Number.isSafeInteger(look.sizeBytes)) {
    const message = `"${path}" has about ${look.sizeBytes} bytes, more than can be mapped exactly`;
    return { findings: [finding("file-too-large", message)] };
  }
  const loop = writable && !ours ? await loopOf(look.realPath, folders) : null;
  if (loop !== null)
    return { findings: [finding("path-in-use", `"${path}" is used by ${loop}`, `losetup -d ${loop}`)] };
  const media = fileMedia(true, look.sizeBytes, await blockSizeBelow(look.device, folders));
  return { findings: [], media: { ...media, identity: look.identity } };
}

/**
 * The same for a file that is there and for one that will be made, so that the second apply compiles to the table of
 * the first; and the same on every file system but for the blocks of the disk below, which direct IO must respect.
 */
function fileMedia(exists: boolean, sizeBytes: number, logicalBlockBytes: number): Media {
  return {
    exists,
    sizeBytes,
    logicalBlockBytes,
    physicalBlockBytes: PAGE_BYTES,
    ioMinBytes: PAGE_BYTES,
    ioOptBytes: 0,
    discardGranularityBytes: PAGE_BYTES,
    maxDiscardBytes: DEFAULT_MAX_DISCARD_BYTES,
    maxWriteZeroesBytes: DEFAULT_MAX_DISCARD_BYTES,
    volatileCache: true,
    fua: true,
    rotational: false,
  };
}
