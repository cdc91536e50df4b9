/** Findings about the path of one block layer. */

import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { basename } from "node:path";
import { plainMedia } from "../../layers/media.js";
import type { Finding } from "../../spec/index.js";
import { blockMedia, holderOf, isReadOnlyDevice, majorMinor, sysfsFolder } from "./block-device.js";
import { findingFor, type LeafQuestion, type LeafView } from "./leaf-files.js";
import { accessError, type Present } from "./look.js";

export async function viewBlock(question: LeafQuestion<"block">): Promise<LeafView> {
  const { layer, look } = question;
  const { path } = layer.options;
  const finding = findingFor(layer);
  if (look.state === "obstructed") {
    const denied = look.errno === "EACCES";
    return { findings: [finding(denied ? "permission-denied" : "path-missing", look.message)] };
  }
  if (look.state === "missing") {
    // Compile says that it is not there.
    return { findings: [], media: plainMedia(false, 0) };
  }
  if (look.kind !== "block device") {
    const hint = look.kind === "file" ? "for a regular file use the layer type file" : undefined;
    return {
      findings: [finding("not-a-block-device", `"${path}" is a ${look.kind}, not a block device`, hint)],
    };
  }
  return viewDevice(question, look);
}

async function viewDevice(
  { layer, writable, ours, folders }: LeafQuestion<"block">,
  look: Present,
): Promise<LeafView> {
  const { path } = layer.options;
  const finding = findingFor(layer);
  const folder = await sysfsFolder(majorMinor(look.device), folders);
  if (folder === null) {
    return {
      findings: [finding("path-missing", `"${path}" is a device node, and the kernel has no such device`)],
    };
  }
  const denied = await accessError(look.realPath, writable ? "write" : "read");
  if (denied !== null) {
    const verb = writable ? "read and write" : "read";
    return { findings: [finding("permission-denied", `not allowed to ${verb} "${path}"`)] };
  }
  if (writable && (await isReadOnlyDevice(folder))) {
    const message = `"${path}" is read-only`;
    return { findings: [finding("permission-denied", message, "readOnly: true serves it without writing")] };
  }
  const findings: Finding[] = [];
  if (writable && !ours) {
    const holder = (await holderOf(folder, folders)) ?? (await claimError(look.realPath, folder));
    if (holder !== null) findings.push(finding("path-in-use", `"${path}" is ${holder}`));
  }
  return { findings, media: { ...(await blockMedia(folder)), identity: look.identity } };
}

/**
 * Whether somebody holds an exclusive claim that no list shows. The claim of this test ends at once. A ublk device is
 * not tried: without a server its open may wait for ever.
 */
async function claimError(path: string, folder: string): Promise<string | null> {
  if (basename(folder).startsWith("ublkb")) return null;
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_EXCL | constants.O_NONBLOCK);
    await file.close();
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "EBUSY" ? "claimed exclusively by another program" : `not to be opened: ${code}`;
  }
}
