/**
 * Which file the TARGET of `image` means:
 *
 *     /a/disk.qcow2  ./disk.qcow2  ../disk.qcow2     a path, always
 *     images/disk.qcow2                              a path, where something of this name exists
 *     STACK/LAYER                                    else the file of a layer of a stack that was applied
 */

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import type { TableLayer } from "../../compile/table.js";
import { StackError } from "../../errors.js";
import type { Description } from "../../reconcile/api.js";
import { openController } from "../../reconcile/client.js";
import { layerOf } from "./layer-name.js";

export interface ImageTarget {
  /** As it was given, or absolute for a layer's. */
  readonly path: string;
  /** What messages call it. */
  readonly name: string;
  /** The layer, where it is one's that was applied. */
  readonly layer: { readonly stack: string; readonly name: string } | null;
  /** Something relies on the length of its file. */
  readonly fixedLength: boolean;
}

const ALWAYS_PATH = /^\.{0,2}\//;

async function describe(word: string, stack: string, signal: AbortSignal): Promise<Description> {
  try {
    const client = await openController({ start: "ifStacks" });
    if (client !== null) return await client.describe(stack, { signal });
  } catch (error) {
    if (!(error instanceof StackError) || error.code !== "stack-unknown") throw error;
  }
  throw new StackError("stack-unknown", `there is no file ${word}, and no stack "${stack}"`);
}

/** The layer that holds an image and the one below it, of whichever device has them both. */
function findLayer(stack: string, name: string, { table }: Description): [TableLayer, TableLayer] {
  const named = table.devices.flatMap(({ layers }) =>
    layers.filter((layer) => layer.name === name).map((layer) => ({ layer, layers })),
  );
  const [first] = named;
  if (first === undefined) {
    const names = new Set(table.devices.flatMap(({ layers }) => layers.map((layer) => layer.name)));
    throw new StackError(
      "unknown-layer",
      `stack "${stack}" has no layer "${name}"; it has ${[...names].join(", ")}`,
    );
  }
  const image = named.find(({ layer }) => layer.type === "qcow2");
  const base = image?.layers[image.layer.children[0] ?? -1];
  if (image === undefined || base === undefined) {
    throw new StackError(
      "not-an-image",
      `layer "${name}" of stack "${stack}" is of type ${first.layer.type}, not qcow2`,
    );
  }
  return [image.layer, base];
}

/** @throws StackError stack-unknown, unknown-layer, not-an-image */
export async function findImage(word: string, signal: AbortSignal): Promise<ImageTarget> {
  const layer = layerOf(word);
  if (layer === null || ALWAYS_PATH.test(word) || existsSync(word))
    return { path: word, name: word, layer: null, fixedLength: false };
  const { stack, name } = layer;
  const description = await describe(word, stack, signal);
  const [, base] = findLayer(stack, name, description);
  const { path } = base.params;
  if (typeof path !== "string" || !["file", "block"].includes(base.type)) {
    throw new StackError(
      "not-an-image",
      `the image of layer "${name}" of stack "${stack}" lies on layer "${base.name}" of type ${base.type}, not on a file or a disk`,
    );
  }
  const absolute = resolve(description.baseDir, path);
  return {
    path: absolute,
    name: `${absolute} (layer "${name}" of stack "${stack}")`,
    layer: { stack, name },
    fixedLength: base.params.grows !== true,
  };
}
