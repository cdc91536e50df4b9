/** The chart of what an IO costs with each engine: every figure of the report is in it, once, and nothing that was not measured. */
import { expect, it } from "vitest";
import { renderEngineChart } from "../../src/bench/engine-chart.js";
import type { Report, Row } from "../../src/bench/result.js";

const row = (name: string, ours: number, peer: string, value: number): Row => ({
  suite: "instructions",
  name: `${name}: 4 KiB random read, depth 1`,
  unit: "k instr/IO",
  ours,
  peer: { name: peer, value },
  better: "lower",
});

const report = (rows: Row[]): Report => ({
  version: 1,
  machine: { cpus: 2, kernel: "7.3", node: "v20" },
  rows,
  skipped: [],
});

const bars = (svg: string): string[] =>
  [...svg.matchAll(/font-size="10">([^<]+)</g)].map(([, text]) => text ?? "");

it("has the kernel's own device and both engines of a stack", () => {
  const svg = renderEngineChart(
    report([
      row("block-native", 29.2, "loop", 24.6),
      row("block-uring-bpf", 27.8, "loop", 24.6),
      row("block-uring-bpf", 27.8, "block-native", 29.2),
    ]),
  );
  expect(bars(svg)).toEqual(["24.6 loop", "29.2 native", "27.8 uring-bpf"]);
  expect(svg).toContain("<title>");
});

it("has both engines of a stack that the kernel has nothing like", () => {
  const svg = renderEngineChart(report([row("three-layered-uring-bpf", 60, "three-layered-native", 66)]));
  expect(bars(svg)).toEqual(["66.0 native", "60.0 uring-bpf"]);
});

it("takes no other stack of ours for a device of the kernel", () => {
  const svg = renderEngineChart(
    report([
      row("three-fused-uring-bpf", 28.7, "three-fused-native", 30),
      row("three-fused-uring-bpf", 28.7, "block-uring-bpf", 27.8),
    ]),
  );
  expect(bars(svg)).toEqual(["30.0 native", "28.7 uring-bpf"]);
});

it("is empty for a report of something else", () => {
  expect(bars(renderEngineChart(report([])))).toEqual([]);
});
