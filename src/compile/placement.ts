/**
 * Which devices a stack becomes: which frontend serves each export, and where the graph is cut.
 *
 *     exports   safe: ublk     wide: nbd          safe   mirror     ┐ device "safe"
 *                                                ├ wide  stripe     ┘┐ device "wide", since a server above writes to
 *     cut at    safe, wide                       │ ├ d0             │ it and the NBD server reads it
 *                                                │ └ d1             ┘
 *     @nbd opens device "wide"                   └ d2                  in device "safe"
 *
 * The rule behind the cuts: a layer that is written belongs to one server, and whoever else wants it opens the
 * device of that server. A layer that nobody writes may be opened by any number of servers.
 */

import type { Finding } from "../spec/finding.js";
import type { ExportSpec, StackSpec } from "../spec/stack-spec.js";
import type { Host } from "./media.js";
import { byName, parentsFirst } from "./order.js";
import type { Usage } from "./usage.js";

export interface PlacedExport {
  readonly spec: ExportSpec;
  readonly frontend: "ublk" | "nbd";
  readonly readOnly: boolean;
}

export interface Placement {
  /** What is in effect. */
  readonly compose: "fused" | "layered";
  /** By name. */
  readonly exports: readonly PlacedExport[];
  /** Layers that are ublk devices of their own, by name. */
  readonly cuts: ReadonlySet<string>;
  readonly findings: Finding[];
}

export function place(spec: StackSpec, usage: Usage, host: Host): Placement {
  const findings: Finding[] = [];
  const sorted = [...spec.exports.values()].sort((a, b) => byName(a.name, b.name));
  const frontends = sorted.map((entry) => frontendOf(entry, host, findings));
  const onUblk = new Set(sorted.filter((_, i) => frontends[i] === "ublk").map((entry) => entry.layer));

  let compose = spec.compose;
  if (compose === "layered" && onUblk.size === 0) {
    compose = "fused";
    findings.push({
      path: ["spec", "compose"],
      at: "value",
      code: "layered-without-ublk",
      severity: "warning",
      message: `stack "${spec.name}" is served fused: every export is on NBD, and layers can be devices of their own on ublk only`,
      hint: "the data are the same either way",
    });
  }

  if (spec.engine === "uring-bpf" && onUblk.size === 0) {
    findings.push({
      path: ["spec", "engine"],
      at: "value",
      code: "engine-without-ublk",
      severity: "warning",
      message: `stack "${spec.name}" is served by engine native: every export is on NBD, and uring-bpf serves ublk only`,
      hint: "the data are the same either way",
    });
  }

  const exports = sorted.map((entry, index): PlacedExport => {
    const frontend = frontends[index] ?? "nbd";
    const shared = frontend === "nbd" && onUblk.has(entry.layer);
    if (shared && !entry.readOnly) {
      findings.push({
        path: [...entry.docPath],
        at: "key",
        code: "export-not-writable",
        severity: "warning",
        message: `export "${entry.name}" is read-only on NBD: layer "${entry.layer}" is a ublk device too, and a layer has one writer`,
        hint: "say readOnly: true, or remove the ublk export to write over NBD",
      });
    }
    return { spec: entry, frontend, readOnly: entry.readOnly || shared };
  });

  findings.push(...sameId(exports));
  return { compose, exports, cuts: cutsOf(compose, exports, usage), findings };
}

function frontendOf(entry: ExportSpec, host: Host, findings: Finding[]): "ublk" | "nbd" {
  if (entry.frontend === "auto") return host.ublk ? "ublk" : "nbd";
  if (entry.frontend === "ublk" && !host.ublk) {
    findings.push({
      path: [...entry.docPath, "frontend"],
      at: "value",
      code: "no-ublk",
      severity: "error",
      message: `export "${entry.name}" asks for ublk, and this host has no ublk driver`,
      expected: "auto or nbd",
    });
  }
  return entry.frontend;
}

function cutsOf(
  compose: "fused" | "layered",
  exports: readonly PlacedExport[],
  usage: Usage,
): ReadonlySet<string> {
  // What grows has no size that a device could show: it stays with the format above.
  if (compose === "layered") return new Set(usage.used.filter((name) => !usage.grows(name)).sort(byName));
  const on = (frontend: "ublk" | "nbd") =>
    exports.filter((entry) => entry.frontend === frontend).map((entry) => entry.spec.layer);
  const roots = on("ublk");
  const inUblkDevices = new Set(parentsFirst(roots, usage.children));
  const shared = on("nbd").filter((layer) => inUblkDevices.has(layer) && !usage.readOnly(layer));
  return new Set([...roots, ...shared].sort(byName));
}

function sameId(exports: readonly PlacedExport[]): Finding[] {
  const first = new Map<number, string>();
  return exports.flatMap(({ spec: entry, frontend }): Finding[] => {
    const { id } = entry.ublk;
    if (frontend !== "ublk" || id === null) return [];
    const owner = first.get(id);
    if (owner === undefined) {
      first.set(id, entry.name);
      return [];
    }
    return [
      {
        path: [...entry.docPath, "ublk", "id"],
        at: "value",
        code: "bad-value",
        severity: "error",
        message: `exports "${owner}" and "${entry.name}" both ask for /dev/ublkb${id}`,
        expected: "a number of its own, or none",
      },
    ];
  });
}
