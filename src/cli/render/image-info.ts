/** What `image info` shows: in qemu-img's own names where it means the same, so that scripts carry over. Pure. */

import { dirname, isAbsolute, join } from "node:path";
import type { ImageBitmap, ImageDetails, Qcow2Header } from "../../native.js";
import { renderTable } from "../common/table.js";
import type { Colors } from "../common/terminal.js";
import { bytesText } from "./amounts.js";
import { clean } from "./clean.js";
import { renderSnapshots, snapshotValue } from "./snapshots.js";

/** Everything that is known of an image. */
export interface ImageFacts {
  readonly path: string;
  readonly header: Qcow2Header;
  readonly inUse: boolean;
  readonly fileBytes: number;
  readonly diskBytes: number;
  /** null: not looked up, as somebody is writing to the image. */
  readonly details: ImageDetails | null;
}

const PROTOCOL = /^[^/]*:/;

/** Where the name in the header leads to; null for what is no path. QEMU begins at the image's folder, too. */
function fullName(path: string, name: string): string | null {
  if (PROTOCOL.test(name)) return null;
  return isAbsolute(name) ? name : join(dirname(path), name);
}

function flagsOf({ inUse, auto }: ImageBitmap): string[] {
  return [...(inUse ? ["in-use"] : []), ...(auto ? ["auto"] : [])];
}

function bitmapValue(bitmap: ImageBitmap) {
  return { flags: flagsOf(bitmap), name: bitmap.name, granularity: bitmap.granularityBytes };
}

function formatValue(header: Qcow2Header, details: ImageDetails | null) {
  const bitmaps = details?.bitmaps ?? [];
  const newer = {
    "lazy-refcounts": header.lazyRefcounts,
    ...(bitmaps.length === 0 ? {} : { bitmaps: bitmaps.map(bitmapValue) }),
    corrupt: header.corrupt,
    "extended-l2": header.extendedL2,
    ...(header.dataFile === null
      ? {}
      : {
          ...(header.dataFile === "" ? {} : { "data-file": header.dataFile }),
          "data-file-raw": header.dataFileRaw,
        }),
  };
  return {
    compat: header.version === 2 ? "0.10" : "1.1",
    "compression-type": header.compression,
    "refcount-bits": header.refcountBits,
    // As in qemu-img: what version 2 cannot have is not there.
    ...(header.version === 2 ? {} : newer),
  };
}

/** -o json */
export function infoValue({ path, header, inUse, fileBytes, diskBytes, details }: ImageFacts) {
  const full = header.backing === null ? null : fullName(path, header.backing.name);
  const snapshots = details?.snapshots ?? [];
  return {
    filename: path,
    format: "qcow2",
    "virtual-size": header.sizeBytes,
    "actual-size": diskBytes,
    "file-length": fileBytes,
    "cluster-size": header.clusterBytes,
    "dirty-flag": header.dirty,
    "in-use": inUse,
    ...(header.backing === null ? {} : { "backing-filename": header.backing.name }),
    ...(full === null ? {} : { "full-backing-filename": full }),
    ...(header.backing?.format == null ? {} : { "backing-filename-format": header.backing.format }),
    "snapshot-count": header.snapshots,
    "bitmap-count": header.bitmaps,
    ...(snapshots.length === 0 ? {} : { snapshots: snapshots.map(snapshotValue) }),
    "format-specific": { type: "qcow2", data: formatValue(header, details) },
    ...(details === null || details.refusals.length === 0 ? {} : { refused: details.refusals }),
  };
}

const yes = (is: boolean): string => (is ? "yes" : "no");
const exactly = (bytes: number): string => `${bytesText(bytes)} (${bytes} bytes)`;
function backingText({ path, header: { backing } }: ImageFacts): string[][] {
  if (backing === null) return [];
  const full = fullName(path, backing.name);
  const where = full === null || full === backing.name ? "" : `, which is ${full}`;
  const format = backing.format ?? "of an unknown format";
  return [["backing file", clean(`${backing.name} (${format})${where}`)]];
}

function dataFileText({ dataFile, dataFileRaw }: Qcow2Header): string[][] {
  if (dataFile === null) return [];
  const name = dataFile === "" ? "one that the image does not name" : clean(dataFile);
  return [["data file", dataFileRaw ? `${name} (raw)` : name]];
}

function stateText({ dirty, corrupt }: Qcow2Header): string {
  if (corrupt) return "corrupt: it contradicts itself, and is not written to";
  return dirty ? "dirty: it was not closed, and its refcounts have to be counted anew" : "clean";
}

function countsText({ header, details }: ImageFacts): string[][] {
  if (details !== null) return [];
  const not = "not listed while the image is written to; --force-share reads them anyway";
  const { snapshots, bitmaps } = header;
  return [
    ...(snapshots === 0 ? [] : [["snapshots", `${snapshots}, ${not}`]]),
    ...(bitmaps === 0 ? [] : [["bitmaps", `${bitmaps}, ${not}`]]),
  ];
}

function snapshotTable({ snapshots }: ImageDetails, colors: Colors): string {
  if (snapshots.length === 0) return "";
  return `\n${renderSnapshots(snapshots, colors)}`;
}

function bitmapTable({ bitmaps }: ImageDetails, colors: Colors): string {
  if (bitmaps.length === 0) return "";
  const rows = bitmaps.map((bitmap) => [
    clean(bitmap.name),
    bytesText(bitmap.granularityBytes),
    flagsOf(bitmap).join(", ") || "-",
  ]);
  return `\n${renderTable(["BITMAP", "GRANULARITY", "FLAGS"], rows, colors)}`;
}

/** For people. */
export function renderInfo(facts: ImageFacts, colors: Colors): string {
  const { path, header, fileBytes, diskBytes, inUse, details } = facts;
  const rows = [
    ["image", clean(path)],
    ["format", `qcow2, version ${header.version} (compat ${header.version === 2 ? "0.10" : "1.1"})`],
    ["virtual size", exactly(header.sizeBytes)],
    ["file length", exactly(fileBytes)],
    ["disk size", bytesText(diskBytes)],
    ["cluster size", bytesText(header.clusterBytes)],
    ["compression", header.compression],
    ["refcounts", `${header.refcountBits} bit${header.refcountBits === 1 ? "" : "s"}`],
    ["extended L2", yes(header.extendedL2)],
    ["lazy refcounts", yes(header.lazyRefcounts)],
    ["state", stateText(header)],
    ["in use", inUse ? "yes: somebody writes to it" : "no"],
    ...backingText(facts),
    ...dataFileText(header),
    ...countsText(facts),
    ...(details?.refusals ?? []).map((text) => ["refused", clean(text)]),
  ].map(([key = "", value = ""]) => [colors.dim(key), value]);
  const tables = details === null ? "" : snapshotTable(details, colors) + bitmapTable(details, colors);
  return renderTable([], rows, colors) + tables;
}
