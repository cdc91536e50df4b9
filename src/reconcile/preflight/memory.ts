/** Findings about memory layers: they live on tmpfs, which lives in memory. */

import { existsSync } from "node:fs";
import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { exactBytes } from "../../layers/bytes.js";
import { optionPath } from "../../layers/kind.js";
import type { Finding, LayerSpecOf } from "../../spec/index.js";
import { onTmpfs } from "../paths.js";
import { readIfThere } from "../state-file.js";
import type { KernelFolders } from "./block-device.js";

export interface MemoryQuestion {
  readonly layers: readonly LayerSpecOf<"memory">[];
  /** Where their files are or will be: by layer name. */
  readonly fileOf: (layer: string) => string;
  readonly folders: KernelFolders;
}

export interface MemoryView {
  readonly findings: Finding[];
  /** Names of layers whose files are not there. */
  readonly missing: string[];
}

export async function viewMemory({ layers, fileOf, folders }: MemoryQuestion): Promise<MemoryView> {
  const [first] = layers;
  if (first === undefined) return { findings: [], missing: [] };
  const fresh: LayerSpecOf<"memory">[] = [];
  const findings: Finding[] = [];
  for (const layer of layers) {
    const bytes = await lengthOf(fileOf(layer.name));
    if (bytes === null) fresh.push(layer);
    else if (bytes !== layer.options.size) findings.push(differentSize(layer, bytes));
  }
  const tmpfs = nearestFolder(dirname(fileOf(first.name)));
  if (!onTmpfs(tmpfs)) {
    findings.push(finding(first, "error", `memory layers need a tmpfs, and there is none at "${tmpfs}"`));
    return { findings, missing: [] };
  }
  const wanted = fresh.reduce((sum, layer) => sum + layer.options.size, 0);
  const { bavail, bsize, blocks } = await statfs(tmpfs);
  const [free, total] = [bavail * bsize, blocks * bsize];
  const available = await availableMemory(folders);
  const largest = fresh.reduce((a, b) => (a.options.size >= b.options.size ? a : b), fresh[0] ?? first);
  if (total > 0 && wanted > total) {
    const message = `memory layers of ${exactBytes(wanted)} do not fit on the tmpfs at "${tmpfs}", which holds ${exactBytes(total)}`;
    findings.push(finding(largest, "error", message));
  } else if (wanted > Math.min(total > 0 ? free : available, available)) {
    const message = `memory layers of ${exactBytes(wanted)} are more than is free now: ${exactBytes(Math.min(free, available))}`;
    findings.push({
      ...finding(largest, "warning", message),
      hint: "they take memory as they are written; then writes fail",
    });
  }
  return { findings, missing: fresh.map((layer) => layer.name) };
}

function finding(layer: LayerSpecOf<"memory">, severity: Finding["severity"], message: string): Finding {
  return { path: optionPath(layer, "size"), at: "value", code: "no-space", severity, message };
}

/** Memory keeps its content while the stack runs: it is not resized under it. */
function differentSize(layer: LayerSpecOf<"memory">, bytes: number): Finding {
  return {
    path: optionPath(layer, "size"),
    at: "value",
    code: "size-differs",
    severity: "error",
    message: `memory of layer "${layer.name}" holds ${exactBytes(bytes)} now`,
    expected: exactBytes(bytes),
    hint: "another name gives a new layer; deleting the stack forgets the content of this one",
  };
}

async function lengthOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function nearestFolder(path: string): string {
  for (let at = path; ; at = dirname(at)) if (at === "/" || existsSync(at)) return at;
}

async function availableMemory({ proc }: KernelFolders): Promise<number> {
  const text = (await readIfThere(`${proc}/meminfo`)) ?? "";
  const kibibytes = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1];
  return kibibytes === undefined ? Number.POSITIVE_INFINITY : Number(kibibytes) * 1024;
}
