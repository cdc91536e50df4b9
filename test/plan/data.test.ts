/** What becomes of bytes that exist: kept, or refused until somebody says that they may go. */
import { describe, expect, it } from "vitest";
import type { Observed } from "../../src/plan/observed.js";
import { plan } from "../../src/plan/plan.js";
import type { StackSpec } from "../../src/spec/stack-spec.js";
import {
  block,
  file,
  linear,
  MIB,
  memory,
  mirror,
  nothing,
  readOnly,
  stack,
  stripe,
  tableOf,
} from "../compile/build.js";
import { blocks, observed, steps } from "./world.js";

const leaves = { a: file(MIB), b: file(MIB), c: file(MIB), m: memory(MIB) };
type Parts = Parameters<typeof stack>[0];
const show = (layers: Parts, root = "top"): StackSpec => stack({ ...leaves, ...layers }, { data: root });
const other = (name: string) => `data-loss: export "data" would ${name}`;
const ELSEWHERE = other("show other bytes: its layers no longer put them where they are");

const refused = (before: StackSpec, after: StackSpec, rest: Partial<Observed> = {}) =>
  blocks(tableOf(after), { ...observed(tableOf(before)), ...rest });

describe("bytes stay where they are", () => {
  it.each<[string, StackSpec, StackSpec]>([
    ["a mirror around a layer", show({}, "a"), show({ top: mirror("a", "b") })],
    ["a mirror taken away", show({ top: mirror("a", "b") }), show({}, "b")],
    [
      "members of a mirror in another order",
      show({ top: mirror("a", "b") }),
      show({ top: mirror("b", "a") }),
    ],
    [
      "a new first member of a mirror that remembers",
      show({ top: mirror("a", "b") }),
      show({ top: mirror("c", "a") }),
    ],
    ["a linear around one layer", show({}, "a"), show({ top: linear("a") })],
    ["a linear that goes on behind a layer", show({}, "a"), show({ top: linear("a", "b") })],
    ["a linear of one taken away", show({ top: linear("a") }), show({}, "a")],
    ["a stripe of one taken away", show({ top: stripe(65536, "a") }), show({}, "a")],
    [
      "a stripe whose members grow at their ends",
      show({ top: stripe(65536, "a", "b") }),
      show({ la: linear("a", "c"), d: file(MIB), lb: linear("b", "d"), top: stripe(65536, "la", "lb") }),
    ],
    [
      "the last member of a linear grows",
      show({ top: linear("a", "b") }),
      show({ b: file(2 * MIB), top: linear("a", "b") }),
    ],
    ["nothing becomes something", show({ top: nothing(MIB) }), show({ top: stripe(65536, "a", "b") })],
    [
      "two exports change names",
      stack({ a: file(MIB), b: file(MIB) }, { x: "a", y: "b" }),
      stack({ a: file(MIB), b: file(MIB) }, { x: "b", y: "a" }),
    ],
    [
      "an export goes, and its files stay",
      stack(leaves, { data: "a", more: "b" }),
      stack(leaves, { more: "b" }),
    ],
    ["an export shows another file", show({}, "a"), show({}, "b")],
    [
      "a stripe read in another order, and not written",
      show({ top: stripe(65536, "a", "b") }),
      show({ a: readOnly(file(MIB)), top: stripe(65536, "b", "a") }),
    ],
  ])("%s", (_, before, after) => {
    expect(refused(before, after)).toEqual([]);
  });
});

describe("bytes would move or go", () => {
  it.each<[string, StackSpec, StackSpec, string[]]>([
    [
      "another chunk",
      show({ top: stripe(65536, "a", "b") }),
      show({ top: stripe(131072, "a", "b") }),
      [ELSEWHERE],
    ],
    [
      "stripe members swapped",
      show({ top: stripe(65536, "a", "b") }),
      show({ top: stripe(65536, "b", "a") }),
      [ELSEWHERE],
    ],
    [
      "a stripe member replaced",
      show({ top: stripe(65536, "a", "b") }),
      show({ top: stripe(65536, "a", "c") }),
      [ELSEWHERE],
    ],
    [
      "a stripe member added",
      show({ top: stripe(65536, "a", "b") }),
      show({ top: stripe(65536, "a", "b", "c") }),
      [ELSEWHERE],
    ],
    [
      "a linear in another order",
      show({ top: linear("a", "b") }),
      show({ top: linear("b", "a") }),
      [ELSEWHERE],
    ],
    [
      "a linear becomes a stripe",
      show({ top: linear("a", "b") }),
      show({ top: stripe(65536, "a", "b") }),
      [ELSEWHERE],
    ],
    [
      "a member of a linear grows before others",
      show({ top: linear("a", "b") }),
      show({ a: file(2 * MIB), top: linear("a", "b") }),
      [ELSEWHERE],
    ],
    ["a new mirror with an empty first member", show({}, "a"), show({ top: mirror("b", "a") }), [ELSEWHERE]],
    [
      "all members of a mirror replaced",
      show({ top: mirror("a", "b") }),
      show({ top: mirror("c"), a2: file(MIB, { path: "a.img" }), z: linear("a2") }),
      [],
    ],
    [
      "a member of a mirror that keeps its name and not its layout",
      show({ w: stripe(65536, "a", "b"), d: file(2 * MIB), top: mirror("d", "w") }),
      show({ w: stripe(131072, "a", "b"), d: file(2 * MIB), top: mirror("d", "w") }),
      [ELSEWHERE],
    ],
    ["memory goes with its layer", show({}, "m"), show({}, "a"), [ELSEWHERE]],
    [
      "an export goes, and its file is written by others",
      stack(leaves, { data: "a", more: "b" }),
      stack({ ...leaves, l: linear("c", "a") }, { more: "b", l: "l" }),
      [`data-loss: the bytes of export "data" would be written over by other layers`],
    ],
    [
      "a smaller device",
      show({ x: block("/dev/x", 2 * MIB) }, "x"),
      show({ x: block("/dev/x", MIB) }, "x"),
      [other("lose the last 1048576 of its 2097152 bytes")],
    ],
  ])("%s", (_, before, after, expected) => {
    expect(refused(before, after)).toEqual(expected);
  });

  it("unless they may, and then the plan says what it does", () => {
    const before = observed(tableOf(show({ top: linear("a", "b") })));
    const after = tableOf(show({ top: linear("b", "a") }));
    expect(blocks(after, before, { allowDataLoss: true })).toEqual([]);
    // A device that goes on under its clients must go on showing the same bytes.
    expect(steps(after, before, { allowDataLoss: true })).toEqual([
      "stop top (interrupts)",
      "recreate top (destroys-data)",
    ]);
  });
});

describe("a mirror whose members are not all current", () => {
  const two = show({ top: mirror("a", "b") });
  const stale = { notCurrent: new Map([["top", ["a"]]]) };

  it("starts again as it is", () => {
    expect(refused(two, two, stale)).toEqual([]);
  });
  it("keeps its data while a current member stays", () => {
    expect(refused(two, show({ top: mirror("b", "c") }), stale)).toEqual([]);
  });
  it("does not lose its last current member silently", () => {
    expect(refused(two, show({ top: mirror("a", "c") }), stale)).toEqual([ELSEWHERE]);
    expect(refused(two, show({}, "a"), stale)).toEqual([ELSEWHERE]);
  });
});

describe("files that are gone", () => {
  const gone = (spec: StackSpec, missing: string[]): Observed => ({
    ...observed(tableOf(spec)),
    devices: [],
    leaves: new Map(missing.map((name) => [name, "missing"])),
  });

  it("are not silently made anew when they held data", () => {
    const spec = show({ top: stripe(65536, "a", "b") });
    const found = gone(spec, ["b"]);
    expect(blocks(tableOf(spec), found)).toEqual([
      other("lose bytes: b.img is gone and would be made anew, empty"),
    ]);
    expect(steps(tableOf(spec), found, { allowDataLoss: true })).toEqual([
      "create-file b (online)",
      "start top (destroys-data)",
    ]);
  });
  it("are made anew in a mirror that has another member", () => {
    const spec = show({ top: mirror("a", "b") });
    expect(blocks(tableOf(spec), gone(spec, ["b"]))).toEqual([]);
    expect(blocks(tableOf(spec), gone(spec, ["a"]))).toEqual([]);
    expect(blocks(tableOf(spec), gone(spec, ["a", "b"]))).toEqual([
      other("lose bytes: a.img, b.img is gone and would be made anew, empty"),
    ]);
  });
  it("are expected to be gone when they were memory", () => {
    const spec = show({ top: mirror("a", "m") });
    expect(blocks(tableOf(spec), gone(spec, ["m"]))).toEqual([]);
    expect(blocks(tableOf(show({}, "m")), gone(show({}, "m"), ["m"]))).toEqual([]);
  });
  it("do not disturb a server that still has them open", () => {
    const table = tableOf(show({}, "a"));
    const world = { ...observed(table), leaves: new Map([["a", "missing" as const]]) };
    expect(plan(table, world)).toMatchObject({ blocked: [], actions: [{ kind: "none" }] });
  });
});
