import type { Finding } from "../spec/finding.js";
import { exactBytes } from "./bytes.js";
import { settle } from "./geometry.js";
import { baseOf, showsBase, stated } from "./instrument.js";
import { type LayerInput, type LayerKind, optionPath, type Shape } from "./kind.js";

type Input = LayerInput<"logwrites">;

function logOf(children: readonly Shape[]): Shape {
  const [, log] = children;
  if (log === undefined) throw new RangeError("a layer with a log has one");
  return log;
}

/** Entries are as large as blocks, so that a block of the log must not be larger than one of the layer. */
function geometry({ children }: Input) {
  const base = baseOf(children).geometry;
  const logicalBlockBytes = Math.max(base.logicalBlockBytes, logOf(children).geometry.logicalBlockBytes);
  return settle({
    ...base,
    logicalBlockBytes,
    physicalBlockBytes: Math.max(base.physicalBlockBytes, logicalBlockBytes),
    // Flushes are what a log is about: clients are to send them, whether or not the base needs any.
    volatileCache: true,
    fua: base.fua || !base.volatileCache,
  }).geometry;
}

/** Its place is a leaf with room for the super, an entry, and the sector that is kept for the end. */
function check(input: Input): Finding[] {
  const { layer, children } = input;
  const log = logOf(children);
  const least = 3 * geometry(input).logicalBlockBytes;
  const refuse = (code: Finding["code"], message: string, expected: string): Finding[] => [
    { path: optionPath(layer, "log"), at: "value", code, severity: "error", message, expected },
  ];
  if (!log.leaf) {
    return refuse(
      "bad-value",
      `the log "${log.name}" of "${layer.name}" is made of other layers`,
      "a file, a block device or memory",
    );
  }
  if (log.sizeBytes === null || log.sizeBytes >= least) return [];
  return refuse(
    "size-too-small",
    `the log "${log.name}" of "${layer.name}" has ${exactBytes(log.sizeBytes)}`,
    `at least ${exactBytes(least)}`,
  );
}

/** logwrites: what changes its base, kept in the format of device mapper's log-writes. */
export const logwrites: LayerKind<"logwrites"> = {
  ...showsBase,
  type: "logwrites",
  remembers: true,
  adjustable: ["data", "record", "mark"],
  children: ({ options }) => [options.base, options.log],
  check,
  sizeBytes(input) {
    const { sizeBytes } = baseOf(input.children);
    return sizeBytes === null ? null : sizeBytes - (sizeBytes % geometry(input).logicalBlockBytes);
  },
  geometry,
  params: ({ options }) => stated({ data: options.data, record: options.record, mark: options.mark }),
};
