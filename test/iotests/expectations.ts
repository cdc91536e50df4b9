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
      throw new Error(`expectations.txt:${index + 1}: wants NAME OUTCOME, and a REASON unless it passes: ${line}`);
    return [{ name, expected: expected as Expected, reason }];
  });
  return { version, rows };
}

/** How many of those that can run pass, and why the others cannot. */
export function summary(rows: readonly Expectation[], failed: ReadonlySet<string>): string {
  const are = (...kinds: Expected[]) => rows.filter(({ expected }) => kinds.includes(expected));
  const can = are("pass", "slow", "differs");
  const passed = are("pass", "slow").filter(({ name }) => !failed.has(name));
  const counted = (kind: Expected) => {
    const reasons = new Map<string, number>();
    for (const { reason } of are(kind)) {
      const group = reason.replace(/:.*/, "");
      reasons.set(group, (reasons.get(group) ?? 0) + 1);
    }
    return [...reasons].sort((a, b) => b[1] - a[1]).map(([reason, count]) => `${count} ${reason}`);
  };
  return [
    `QEMU's iotests for qcow2: ${passed.length} of ${can.length} that can run pass.`,
    ...(can.length > passed.length ? [`Differ: ${counted("differs").join("; ")}.`] : []),
    `${are("qemu").length} are about QEMU itself: ${counted("qemu").join("; ")}.`,
    `${are("format").length} are not for qcow2 images in files.`,
  ].join("\n");
}
