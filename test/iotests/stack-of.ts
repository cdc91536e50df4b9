/** The stack that serves an image: with everything that the image says of itself, as a user would write it down. */
import { statSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { type ImageHeader, loadNative } from "../../src/native.js";

export type StackOf =
  | { readonly spec: { layers: Record<string, object>; exports: Record<string, object> } }
  /** Nothing for us: what else it is. */
  | { readonly foreign: string }
  | { readonly refused: string };

/** A stop on the way. */
class Stop extends Error {
  constructor(readonly answer: StackOf) {
    super("");
  }
}
const foreign = (what: string) => new Stop({ foreign: what });
const refused = (why: string) => new Stop({ refused: why });

/** @param folder what paths in the stack start at */
export async function stackOf(
  path: string,
  format: string | null,
  readOnly: boolean,
  folder: string,
): Promise<StackOf> {
  const layers: Record<string, object> = {};
  try {
    await addImage(layers, "disk", path, format, readOnly, folder);
  } catch (stop) {
    if (stop instanceof Stop) return stop.answer;
    throw stop;
  }
  return { spec: { layers, exports: { data: { layer: "disk", frontend: "nbd" } } } };
}

async function headerOf(path: string): Promise<ImageHeader> {
  try {
    return await loadNative().imageHeader(path);
  } catch (error) {
    throw refused(`"${path}" cannot be read: ${(error as { code?: string }).code ?? error}`);
  }
}

async function addImage(
  layers: Record<string, object>,
  name: string,
  path: string,
  format: string | null,
  readOnly: boolean,
  folder: string,
): Promise<void> {
  const header = await headerOf(path);
  if (header.kind === "refused") throw refused(header.message);
  if (header.kind !== "qcow2") {
    throw format === null ? foreign("an image of another format") : refused("it is no qcow2 image");
  }
  if (header.sizeBytes === 0) throw foreign("a disk of no bytes");
  const options: Record<string, unknown> = { size: header.sizeBytes, create: "never" };
  const beside = (named: string) => resolve(dirname(path), fileName(named));
  if (header.dataFile !== null) {
    if (header.dataFile === "") throw refused("the image does not say where its data are");
    options.dataFile = `${name}-data`;
    const data = beside(header.dataFile);
    sizeOf(data);
    layers[`${name}-data`] = { file: { path: relative(folder, data), create: "never" }, readOnly };
  }
  if (header.backing !== null) {
    options.backing = `${name}-below`;
    await addBacking(layers, `${name}-below`, beside(header.backing.name), header.backing.format, folder);
  }
  layers[`${name}-file`] = { file: { path: relative(folder, path) }, readOnly };
  layers[name] = { qcow2: { base: `${name}-file`, ...options }, readOnly };
}

async function addBacking(
  layers: Record<string, object>,
  name: string,
  path: string,
  format: string | null,
  folder: string,
): Promise<void> {
  const kind = format ?? ((await headerOf(path)).kind === "qcow2" ? "qcow2" : "raw");
  if (kind === "qcow2") return addImage(layers, name, path, kind, true, folder);
  if (kind !== "raw") throw foreign(`a backing file of format ${kind}`);
  const bytes = sizeOf(path);
  if (bytes === 0 || bytes % 512 !== 0) throw foreign("a backing file that is no whole number of sectors");
  layers[name] = {
    file: { path: relative(folder, path), size: bytes, create: "never" },
    readOnly: true,
  };
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch {
    throw refused(`there is no file "${path}"`);
  }
}

function fileName(name: string): string {
  if (name.startsWith("file:")) return name.slice(5);
  const protocol = /^([A-Za-z0-9+.-]+):/.exec(name)?.[1];
  if (protocol !== undefined) throw foreign(`a backing file at ${protocol}:`);
  return name;
}
