/** What `image check` says: in qemu-img's own names where it means the same. Pure. */

import type { ImageCheck } from "../../native.js";
import type { Colors } from "../common/terminal.js";
import { plural } from "./amounts.js";
import { clean } from "./clean.js";

const nonZero = (counts: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));

/** -o json. As in qemu-img, counts of which there is nothing to say are not there. */
export function checkValue(path: string, report: ImageCheck) {
  return {
    filename: path,
    format: "qcow2",
    "check-errors": 0,
    ...nonZero({
      "image-end-offset": report.imageEndBytes,
      corruptions: report.corruptions,
      leaks: report.leaks,
      "total-clusters": report.totalClusters,
      "allocated-clusters": report.allocatedClusters,
      "fragmented-clusters": report.fragmentedClusters,
      "compressed-clusters": report.compressedClusters,
    }),
    findings: report.findings,
  };
}

/** 0 clean, 2 corrupt, 3 leaks alone: as qemu-img check has it. */
export function checkStatus({ corruptions, leaks }: ImageCheck): 0 | 2 | 3 {
  if (corruptions > 0) return 2;
  return leaks > 0 ? 3 : 0;
}

const share = (part: number, whole: number): string =>
  whole === 0 ? "0%" : `${((100 * part) / whole).toFixed(2).replace(/\.?0+$/, "")}%`;

function verdict({ corruptions, leaks }: ImageCheck, { green, red, yellow }: Colors): string {
  if (corruptions > 0) {
    const more = leaks > 0 ? `, and ${plural(leaks, "leaked cluster")}` : "";
    return `${red(plural(corruptions, "corruption"))}${more}: what is read may be wrong, and writing makes it worse`;
  }
  if (leaks > 0) return `${yellow(plural(leaks, "leaked cluster"))}: space is lost, and nothing else`;
  return green("no errors were found");
}

/** For people. */
export function renderCheck(report: ImageCheck, colors: Colors): string {
  const { findings, corruptions, leaks } = report;
  const found = findings.map(
    ({ kind, message }) =>
      `${kind === "corruption" ? colors.red("corruption") : colors.yellow("leak")}: ${clean(message)}`,
  );
  const untold = corruptions + leaks - findings.length;
  const { allocatedClusters: allocated, totalClusters: total } = report;
  return [
    ...found,
    ...(untold > 0 ? [`and ${untold} more`] : []),
    verdict(report, colors),
    `${allocated} of ${plural(total, "cluster")} allocated (${share(allocated, total)}), of these ${share(report.fragmentedClusters, allocated)} fragmented, ${share(report.compressedClusters, allocated)} compressed`,
    `image ends at ${report.imageEndBytes}`,
    "",
  ].join("\n");
}
