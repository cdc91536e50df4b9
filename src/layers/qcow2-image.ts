/** What stands between a qcow2 layer and the image that was found: all that would be refused when it is served. */

import type { Finding } from "../spec/finding.js";
import { quote } from "../spec/place.js";
import { exactBytes } from "./bytes.js";
import { type NamedFile, pathIn, type Qcow2Image, type SeenFile } from "./image.js";
import { baseOf } from "./instrument.js";
import { type LayerInput, optionPath, type Shape } from "./kind.js";
import { findingAt } from "./qcow2-options.js";

type Input = LayerInput<"qcow2">;

export function imageFindings(input: Input): Finding[] {
  return [...baseFindings(input), ...mistakenBacking(input)];
}

/** QEMU tells an image from other files by itself; here it is the stack file that says so. */
function mistakenBacking(input: Input): Finding[] {
  const member = memberOf(input, "backing");
  const { file = null } = member ?? {};
  if (file?.format !== "raw" || file.image?.kind !== "qcow2") return [];
  const message = `${quote(file.path)} holds a qcow2 image, and layer "${member?.name}" shows the image, not the disk in it`;
  return [
    {
      ...findingAt(input.layer)("backing", "image-differs", message, {
        hint: `perhaps this was meant: ${exampleOf("backing", file.path, "qcow2")}`,
      }),
      severity: "warning",
    },
  ];
}

function baseFindings(input: Input): Finding[] {
  const { layer, children } = input;
  const { file } = baseOf(children);
  if (file?.format !== "raw" || file.image === null) return [];
  if (layer.options.create === "always") return madeFindings(input, file);
  const finding = findingAt(layer);
  const { image } = file;
  switch (image.kind) {
    case "blank":
      return madeFindings(input, file);
    case "refused":
      return [
        finding("base", "image-refused", `the image ${quote(file.path)} cannot be served: ${image.message}`),
      ];
    case "other":
      return layer.options.create === "never"
        ? [finding("base", "image-refused", `${quote(file.path)} holds no qcow2 image`)]
        : [
            finding(
              "base",
              "image-foreign",
              `${quote(file.path)} holds no qcow2 image, and what it holds would be overwritten by one`,
            ),
          ];
    case "qcow2":
      return foundFindings(input, file, image);
  }
}

/** There is no image yet. */
function madeFindings({ layer, written }: Input, { path }: SeenFile): Finding[] {
  const { create, size } = layer.options;
  const finding = findingAt(layer);
  if (create === "never") {
    const message = `there is no image in ${quote(path)}, and create: never forbids to make one`;
    return [finding("create", "image-missing", message)];
  }
  if (!written) {
    const message = `there is no image in ${quote(path)} yet, and nobody writes to "${layer.name}"`;
    return [finding("base", "image-missing", message)];
  }
  if (size !== null || create === "always") return [];
  const message = `"${layer.name}" has no size, and an image has to be made in ${quote(path)}`;
  return [finding("size", "missing-key", message, { expected: "the size of the disk" })];
}

function foundFindings(input: Input, file: SeenFile, image: Qcow2Image): Finding[] {
  const { layer, written } = input;
  const findings = [
    ...differences(input, file, image),
    ...sizeDifference(input, file, image),
    ...namedFindings(input, file, "backing", image.backing),
    ...namedFindings(input, file, "dataFile", image.dataFile),
  ];
  const block = largestBlock(input);
  if (image.clusterBytes < block) {
    const clusters = exactBytes(image.clusterBytes);
    findings.push(
      findingAt(layer)(
        "base",
        "image-refused",
        `the image ${quote(file.path)} has clusters of ${clusters}, less than a ${block}-byte block of "${layer.name}"`,
      ),
    );
  }
  if (image.corrupt && written) {
    findings.push(
      findingAt(layer)("base", "image-corrupt", `the image ${quote(file.path)} is marked as corrupt`, {
        hint: "readOnly: true serves what can be read of it",
      }),
    );
  }
  return findings;
}

const largestBlock = ({ children }: Input) =>
  Math.max(...children.map((child) => child.geometry.logicalBlockBytes));

/** What is stated is what the image has. */
function differences({ layer }: Input, { path }: SeenFile, image: Qcow2Image): Finding[] {
  const { options } = layer;
  const stated = [
    ["version", "version", options.version, image.version],
    ["clusterSize", "clusters", options.clusterSize, image.clusterBytes],
    ["refcountBits", "refcount bits", options.refcountBits, image.refcountBits],
    ["extendedL2", "extended L2 entries", options.extendedL2, image.extendedL2],
    ["compression", "compression", options.compression, image.compression],
    ["lazyRefcounts", "lazy refcounts", options.lazyRefcounts, image.lazyRefcounts],
  ] as const;
  return stated.flatMap(([option, what, wanted, found]): Finding[] => {
    if (wanted === null || wanted === found) return [];
    const text = (value: typeof found) =>
      option === "clusterSize" ? exactBytes(Number(value)) : String(value);
    const message = `the image ${quote(path)} has ${what}: ${text(found)}, and "${layer.name}" says ${text(wanted)}`;
    return [findingAt(layer)(option, "image-differs", message, { expected: text(found) })];
  });
}

function sizeDifference(input: Input, { path }: SeenFile, image: Qcow2Image): Finding[] {
  const { layer, written } = input;
  const { size } = layer.options;
  const finding = findingAt(layer);
  const found = exactBytes(image.sizeBytes);
  if (size === null) {
    const block = largestBlock(input);
    if (image.sizeBytes % block === 0) return [];
    const message = `the disk in ${quote(path)} has ${found}, which is not a multiple of the ${block}-byte blocks of "${layer.name}"`;
    return [finding("base", "size-not-multiple", message)];
  }
  if (size === image.sizeBytes) return [];
  if (size < image.sizeBytes) {
    const message = `the disk in ${quote(path)} has ${found}, and "${layer.name}" would cut it off at ${exactBytes(size)}`;
    return [finding("size", "image-differs", message, { expected: `at least ${found}` })];
  }
  if (!written) {
    const message = `the disk in ${quote(path)} has ${found}, and does not grow: nobody writes to "${layer.name}"`;
    return [finding("size", "image-differs", message, { expected: found })];
  }
  const message = `the disk in ${quote(path)} grows from ${found} to ${exactBytes(size)}`;
  return [{ ...finding("size", "size-differs", message), severity: "warning" }];
}

/** A name that a layer has in headers where it is no file: no program takes it for one by mistake. */
const layerName = (layer: string) => `ublk-stack:${layer}`;

function memberOf({ layer, children }: Input, option: "backing" | "dataFile"): Shape | undefined {
  return children.find((child) => child.name === layer.options[option]);
}

const WORDS = { backing: "backing", dataFile: "data file" } as const;

/** What the header names is opened only if the stack file names it, too. */
function namedFindings(
  input: Input,
  { path }: SeenFile,
  option: "backing" | "dataFile",
  named: NamedFile | null,
): Finding[] {
  const { layer } = input;
  const what = WORDS[option];
  const member = memberOf(input, option);
  const differs = (message: string, more: Pick<Finding, "expected" | "hint"> = {}): Finding[] => [
    findingAt(layer)(option, "image-differs", message, more),
  ];
  if (named === null) {
    if (member === undefined) return [];
    return differs(`the image ${quote(path)} has no ${what}, and "${layer.name}" names "${member.name}"`);
  }
  const { name, format } = named;
  if (member === undefined) {
    const which = name === "" ? `a ${what} without a name` : `the ${what} ${quote(name)}`;
    return [
      {
        ...findingAt(layer)(
          option,
          "image-differs",
          `the image ${quote(path)} has ${which}, and "${layer.name}" names none`,
          pathIn(name) === null ? {} : { expected: exampleOf(option, name, format) },
        ),
        path: optionPath(layer),
        at: "key",
      },
    ];
  }
  if (name === "") return [];
  const wanted = member.file;
  if (wanted === null) {
    // A file of memory has a path, too, that only its server knows: the server compares.
    if (member.leaf || name === layerName(member.name)) return [];
    return differs(
      `the image ${quote(path)} has the ${what} ${quote(name)}, and not layer "${member.name}"`,
      { expected: `an image whose ${what} is called ${layerName(member.name)}` },
    );
  }
  if (pathIn(name) === null) {
    return differs(
      `the image ${quote(path)} has the ${what} ${quote(name)}, which is no path of a file and is not followed`,
      { hint: `qemu-img rebase -u gives an image another name of its ${what}` },
    );
  }
  if (named.identity === null || named.identity !== wanted.identity) {
    const nothing = named.identity === null ? ", where nothing is" : "";
    return differs(
      `the image ${quote(path)} has the ${what} ${quote(name)}${nothing}, and "${layer.name}" names ${quote(wanted.path)}`,
    );
  }
  if (format === null || format === wanted.format) return [];
  return differs(
    `the image ${quote(path)} takes its ${what} ${quote(name)} for ${format}, and layer "${member.name}" for ${wanted.format}`,
    format === "qcow2" ? { expected: exampleOf(option, wanted.path, format) } : {},
  );
}

/** How the stack file would name it. */
function exampleOf(option: "backing" | "dataFile", path: string, format: string | null): string {
  const file = `{ file: { path: ${quote(path)} } }`;
  return `${option}: ${format === "qcow2" ? `{ qcow2: { base: ${file} }, readOnly: true }` : file}`;
}
