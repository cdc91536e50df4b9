/** Stacks with formats in few words, and images that nobody has to make. */

import { type Compiled, compile } from "../../src/compile/compile.js";
import type { Media } from "../../src/compile/media.js";
import type { TableLayer } from "../../src/compile/table.js";
import type { Qcow2Image } from "../../src/layers/image.js";
import { parseStacks, type StackSpec } from "../../src/spec/index.js";
import { HOST, world } from "./build.js";

export const GIB = 2 ** 30;
export const PIB = 2 ** 50;

export function specOf(layers: object, exports: object, more: object = {}): StackSpec {
  const text = JSON.stringify({
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name: "s" },
    spec: { ...more, layers, exports },
  });
  const { documents, problems } = parseStacks(text, "s.yaml");
  const spec = documents[0]?.spec;
  if (spec === undefined) throw new Error(JSON.stringify(problems));
  return spec;
}

export const image = { file: { path: "disk.qcow2" } };
export const golden = { file: { path: "golden.raw", size: "1GiB" } };

/** A layer "disk" of these options, over the file layer "image". */
export const diskOf = (options: object, base: object = image) => ({
  image: base,
  golden,
  disk: { qcow2: { base: "image", size: "1GiB", ...options } },
});

export const compiled = (layers: object, media: Record<string, Media> = {}, more: object = {}): Compiled =>
  compile(specOf(layers, { disk: { layer: "disk" } }, more), world(media, HOST));

export const layersOf = ({ table, findings }: Compiled): TableLayer[] => {
  if (table === null) throw new Error(JSON.stringify(findings));
  return table.devices.flatMap((device) => device.layers);
};

export const said = ({ findings }: Compiled) =>
  findings
    .filter(({ code }) => code !== "unused-layer")
    .map(({ severity, code, path, message }) => `${severity} ${code} ${path.slice(3).join(".")}: ${message}`);

export const qcow2 = (rest: Partial<Qcow2Image> = {}): Qcow2Image => ({
  kind: "qcow2",
  sizeBytes: GIB,
  version: 3,
  clusterBytes: 65536,
  refcountBits: 16,
  extendedL2: false,
  compression: "zlib",
  lazyRefcounts: false,
  corrupt: false,
  backing: null,
  dataFile: null,
  ...rest,
});
