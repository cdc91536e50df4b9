/** The checked-in table of QEMU's iotests: what comes of each when it runs through us. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const OUTCOMES = {
  pass: "passes",
  slow: "passes, and takes too long for every run of ours",
  differs: "runs through us, and its output is another one",
  qemu: "is about QEMU itself: nothing of it, or not what it is about, can come to us",
  format: "is not for qcow2 images in files",
} as const;

export type Expected = keyof typeof OUTCOMES;

export interface Expectation {
  readonly name: string;
  readonly expected: Expected;
  /** Of all but those that pass. */
  readonly reason: string;
}

export interface Table {
  /** Of QEMU: others have other tests. */
  readonly version: string;
  readonly rows: readonly Expectation[];
}

export function readTable(text = readFileSync(join(import.meta.dirname, "expectations.txt"), "utf8")): Table {
  const version = /^# QEMU (\d+\.\d+)$/m.exec(text)?.[1];
  if (version === undefined) throw new Error("the table of iotests does not say of which QEMU it is");
  const rows = text.split("\n").flatMap((line, index) => {
    if (line === "" || line.startsWith("#")) return [];
    const [, name, expected, reason = ""] = /^(\S+) +(\S+)(?: +(.+))?$/.exec(line) ?? [];
    const passes = expected === "pass" || expected === "slow";
    if (name === undefined || expected === undefined || !(expected in OUTCOMES) || passes !== (reason === ""))
      throw new Error(
        `expectations.txt:${index + 1}: wants NAME OUTCOME, and a REASON unless it passes: ${line}`,
      );
    return [{ name, expected: expected as Expected, reason }];
  });
  return { version, rows };
}

const are = (rows: readonly Expectation[], ...kinds: Expected[]) =>
  rows.filter(({ expected }) => kinds.includes(expected));

/** Reasons up to their colon, the most frequent first. */
function grouped(rows: readonly Expectation[]): [string, number][] {
  const groups = new Map<string, number>();
  for (const { reason } of rows) {
    const group = reason.replace(/:.*/, "");
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  return [...groups].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

/** How many of those that can run pass, and why the others cannot. */
export function summary(rows: readonly Expectation[], failed: ReadonlySet<string>): string {
  const can = are(rows, "pass", "slow", "differs");
  const passed = are(rows, "pass", "slow").filter(({ name }) => !failed.has(name));
  const reasons = (kind: Expected) =>
    grouped(are(rows, kind))
      .map(([reason, count]) => `${count} ${reason}`)
      .join("; ");
  return [
    `QEMU's iotests for qcow2: ${passed.length} of ${can.length} that can run pass.`,
    `Differ: ${reasons("differs")}.`,
    `${are(rows, "qemu").length} cannot come to us: ${reasons("qemu")}.`,
    `${are(rows, "format").length} are not for qcow2 images in files.`,
  ].join("\n");
}

/** The table of counts in docs/iotests.md. */
export function countsTable(rows: readonly Expectation[]): string {
  const can = are(rows, "pass", "slow", "differs").length;
  return [
    "| tests | |",
    "|---|---|",
    `| ${rows.length} | in all |`,
    `| ${can} | can run through us |`,
    `| ${are(rows, "pass", "slow").length} | of them pass, ${are(rows, "pass").length} of which quickly |`,
    `| ${are(rows, "differs").length} | of them differ |`,
    ...grouped(are(rows, "qemu")).map(([reason, count]) => `| ${count} | cannot come to us: ${reason} |`),
    `| ${are(rows, "format").length} | are for other formats or protocols than qcow2 in files |`,
  ].join("\n");
}

/** The rows of the table of differences in docs/iotests.md. */
export const differencesTable = (rows: readonly Expectation[]): string =>
  are(rows, "differs")
    .map(({ name, reason }) => `| ${name} | ${reason} |`)
    .join("\n");
