import { describe, expect, it } from "vitest";
import { report, withLayers } from "./helpers.js";

/** What is said of a layer `a` with these options, without the picture of the line. */
const said = (type: string, options: string) =>
  report(withLayers("b: { memory: { size: 1MiB } }", `a: { ${type}: { base: b, ${options} } }`))
    .split("\n")
    .filter((line) => /^s\.yaml|\^/.test(line))
    .map((line) => line.replace(/^ *\| */, ""));

describe("a mistake in the options of an instrument", () => {
  it.each([
    ["delay", "read: 5"],
    ["delay", "read: fast"],
    ["delay", "read: 1.5ms"],
    ["delay", "read: 9999h"],
    ["delay", "read: { uniform: [1ms] }"],
    ["delay", "read: { uniform: [1ms, 2ms, 3ms] }"],
    ["delay", "read: { uniform: 5ms }"],
    ["delay", "read: { normal: [1ms, x] }"],
    ["delay", "read: { normal: [1ms, 1ms], uniform: [1ms, 1ms] }"],
    ["delay", "read: {}"],
    ["delay", "read: { exponential: 5ms }"],
    ["delay", "order: strict"],
    ["throttle", "iops: -1"],
    ["throttle", "bandwidth: 1MB"],
    ["throttle", "burst: 1"],
    ["badblocks", "blocks: 5"],
    ["badblocks", "blocks: [x]"],
    ["badblocks", "blocks: [-1]"],
    ["badblocks", 'blocks: ["5-"]'],
    ["badblocks", "blocks: [5, [6]]"],
    ["badblocks", "blockSize: 1000"],
    ["badblocks", "blockSize: 256"],
    ["badblocks", "writeFailures: 256"],
    ["readonly", "enabled: yes"],
  ])("%s: %s", (type, options) => {
    expect(said(type, options)).toMatchSnapshot();
  });
});
