/** Images in the plan: whose bytes stay, and what is made. */
import { describe, expect, it } from "vitest";
import { compile } from "../../src/compile/compile.js";
import type { Table } from "../../src/compile/table.js";
import { NOTHING_OBSERVED } from "../../src/plan/observed.js";
import { plan } from "../../src/plan/plan.js";
import { renderPlan } from "../../src/plan/render.js";
import { world } from "../compile/build.js";
import { specOf } from "../compile/format-stacks.js";
import { blocks, leaves, observed, steps } from "./world.js";

const file = (path: string, more: object = {}) => ({ file: { path, ...more } });
const golden = file("golden.raw", { size: "1GiB" });

const tableOf = (data: object, more: object = {}): Table => {
  const { table, findings } = compile(specOf({ data, ...more }, { data: { layer: "data" } }), world());
  if (table === null) throw new Error(JSON.stringify(findings));
  return table;
};
const disk = (options: object = {}) => ({
  qcow2: { base: file("disk.qcow2"), size: "1GiB", ...options },
});

const ELSEWHERE =
  'data-loss: export "data" would show other bytes: its layers no longer put them where they are';
const refused = (before: Table, after: Table) => blocks(after, observed(before));

describe("the disk in an image stays", () => {
  it.each<[string, object, object]>([
    ["with another cache", disk(), disk({ cache: "64MiB" })],
    ["with its properties stated", disk(), disk({ clusterSize: "64KiB", version: 3 })],
    ["as it grows", disk(), disk({ size: "2GiB" })],
    ["in a file that is bounded", disk(), disk({ base: file("disk.qcow2", { sizeMax: "2GiB" }) })],
    ["in a file that is bounded no more", disk({ base: file("disk.qcow2", { sizeMax: "2GiB" }) }), disk()],
    [
      "in a file of a fixed size that may grow now",
      disk({ base: file("disk.qcow2", { size: "2GiB" }) }),
      disk(),
    ],
    ["over the same backing", disk({ backing: golden }), disk({ backing: golden, cache: "64MiB" })],
    ["under a mirror", disk(), { mirror: { members: [disk(), { memory: { size: "1GiB" } }] } }],
    ["where a mirror is taken away", { mirror: { members: [disk()] } }, disk()],
    ["in its file, if another one is shown", disk(), disk({ base: file("other.qcow2") })],
  ])("%s", (_, before, after) => {
    expect(refused(tableOf(before), tableOf(after))).toEqual([]);
  });
});

describe("the disk in an image would go", () => {
  it.each<[string, object, object]>([
    ["for the image itself", disk(), file("disk.qcow2", { size: "1GiB" })],
    ["for an image that is made in it", file("disk.qcow2", { size: "1GiB" }), disk()],
    ["without its backing", disk({ backing: golden }), disk()],
    ["under a backing that it had not", disk(), disk({ backing: golden })],
    ["under another backing", disk({ backing: golden }), disk({ backing: file("g.raw", { size: "1GiB" }) })],
    ["without its data file", disk({ dataFile: file("disk.data") }), disk({ dataFile: file("other.data") })],
    ["with a data file for a backing", disk({ dataFile: golden }), disk({ backing: golden })],
    ["in a file that is cut off", disk(), disk({ base: file("disk.qcow2", { size: "1MiB" }) })],
  ])("%s", (_, before, after) => {
    expect(refused(tableOf(before), tableOf(after))).toEqual([ELSEWHERE]);
  });

  it("where it gets smaller", () => {
    expect(refused(tableOf(disk()), tableOf(disk({ size: "512MiB" })))).toEqual([
      'data-loss: export "data" would lose the last 536870912 of its 1073741824 bytes',
    ]);
  });

  it("with its file", () => {
    const table = tableOf(disk());
    const gone = { ...observed(table), devices: [], leaves: leaves(table, "missing") };
    expect(blocks(table, gone)).toEqual([
      'data-loss: export "data" would lose bytes: disk.qcow2 is gone and would be made anew, empty',
    ]);
  });
});

describe("a plan with an image", () => {
  it("makes its file first", () => {
    const table = tableOf(disk());
    const made = plan(table, { ...NOTHING_OBSERVED, leaves: leaves(table, "missing") });
    expect(renderPlan("s", table, made, { color: false })).toMatchInlineSnapshot(`
      "stack s
        + create "disk.qcow2" for layer "data.0": is missing
        + start ublk device "data" (data): is not there

      Plan: 1 to create, 1 to start.
      "
    `);
  });

  it("takes on new settings under the device, and a new size with a new device", () => {
    const before = observed(tableOf(disk()));
    expect(steps(tableOf(disk({ cache: "64MiB" })), before)).toEqual(["reload data (pause)"]);
    expect(steps(tableOf(disk({ size: "2GiB" })), before)).toEqual([
      "stop data (interrupts)",
      "recreate data (interrupts)",
    ]);
  });
});
