/** Rows that were measured again take the place of those that were saved before, each by what it says it is. */
import { expect, it } from "vitest";
import { merged, type Report, type Row } from "../../src/bench/result.js";

const row = (name: string, ours: number, peer?: string): Row => ({
  suite: "qcow2",
  name,
  unit: "IO/s",
  ours,
  better: "higher",
  ...(peer === undefined ? {} : { peer: { name: peer, value: 1 } }),
});
const report = (kernel: string, rows: Row[]): Report => ({
  version: 1,
  machine: { cpus: 2, kernel, node: "v20" },
  rows,
  skipped: [],
});

it("keeps what was not measured again, and has the machine of the later run", () => {
  const before = report("6.18", [row("read", 1, "qemu-nbd"), row("read", 2, "nbdkit"), row("open", 3)]);
  const after = report("7.1", [row("read", 4, "qemu-nbd"), row("write", 5)]);
  expect(merged(before, after)).toEqual(
    report("7.1", [row("read", 2, "nbdkit"), row("open", 3), row("read", 4, "qemu-nbd"), row("write", 5)]),
  );
});
