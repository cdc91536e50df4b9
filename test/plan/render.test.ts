import { describe, expect, it } from "vitest";
import type { Table } from "../../src/compile/table.js";
import { diffTables } from "../../src/plan/diff.js";
import { NOTHING_OBSERVED, type Observed } from "../../src/plan/observed.js";
import { type PlanOptions, plan } from "../../src/plan/plan.js";
import { renderPlan } from "../../src/plan/render.js";
import { file, linear, MIB, memory, mirror, stack, stripe, tableOf } from "../compile/build.js";
import { leaves, observed } from "./world.js";

const parts = {
  d0: file(MIB),
  d1: file(MIB),
  d2: memory(2 * MIB),
  wide: stripe(65536, "d0", "d1"),
  safe: mirror("wide", "d2"),
};
const fused = tableOf(stack(parts, { data: "safe" }));
const cut = tableOf(stack(parts, { data: "safe", raw: "wide" }));
const text = (table: Table | null, world: Observed, options: PlanOptions = {}, unchanged = false) =>
  renderPlan("demo", table, plan(table, world, options), { color: false, unchanged });

describe("a plan as text", () => {
  it("of a first apply", () => {
    expect(text(fused, { ...NOTHING_OBSERVED, leaves: leaves(fused, "missing") })).toMatchInlineSnapshot(`
      "stack demo
        + create "d0.img" for layer "d0": is missing
        + create "d1.img" for layer "d1": is missing
        + create layer "d2": is missing
        + start ublk device "safe" (data): is not there

      Plan: 3 to create, 1 to start.
      "
    `);
  });
  it("of no change", () => {
    expect(text(cut, observed(cut))).toMatchInlineSnapshot(`
      "stack demo
      No changes.
      "
    `);
    expect(text(cut, observed(cut), {}, true)).toMatchInlineSnapshot(`
      "stack demo
        = keep ublk device "wide" (raw): unchanged
        = keep ublk device "safe" (data): unchanged

      No changes.
      "
    `);
  });
  it("of a change that is made under the device", () => {
    expect(text(cut, observed(fused))).toMatchInlineSnapshot(`
      "stack demo
        + start ublk device "wide" (raw): is not there
        ~ reload ublk device "safe" (data): its layers change and its outside stays (clients wait for a moment)
            ~ layers.wide.type: stripe → block
            ~ layers.wide.members: d0, d1 → (none)
            - layers.wide.params.chunkBytes: 64KiB
            + layers.wide.params.device: wide
            - layers.d0: file 1MiB
            - layers.d1: file 1MiB
            ~ opens: (none) → wide

      Plan: 1 to start, 1 to reload.
      "
    `);
  });
  it("of a change that is blocked", () => {
    const other = tableOf(
      stack({ ...parts, wide: stripe(131072, "d1", "d0"), safe: linear("wide") }, { data: "safe" }),
    );
    expect(text(other, observed(fused, { safe: { inUse: true } }))).toMatchInlineSnapshot(`
      "stack demo
      -/+ recreate ublk device "safe" (data): its geometry changes: ioMinBytes (DESTROYS DATA)
            ~ layers.safe.type: mirror → linear
            ~ layers.safe.members: wide, d2 → wide
            ~ layers.safe.geometry.ioMinBytes: 64KiB → 128KiB
            ~ layers.safe.geometry.ioOptBytes: 128KiB → 256KiB
            ~ layers.wide.members: d0, d1 → d1, d0
            ~ layers.wide.geometry.ioMinBytes: 64KiB → 128KiB
            ~ layers.wide.geometry.ioOptBytes: 128KiB → 256KiB
            ~ layers.wide.params.chunkBytes: 64KiB → 128KiB
            - layers.d2: memory 2MiB

      Blocked:
        export "data" would show other bytes: its layers no longer put them where they are
          --allow-data-loss lets it happen
        device "safe" is in use and would be made anew: its geometry changes: ioMinBytes
          --force lets it happen

      Plan: 1 to recreate.
      "
    `);
  });
  it("of a delete", () => {
    expect(text(null, observed(cut))).toMatchInlineSnapshot(`
      "stack demo
        - stop ublk device "safe": is no longer wanted (clients are interrupted)
        - stop ublk device "wide": is no longer wanted (clients are interrupted)

      Plan: 2 to stop.
      "
    `);
  });
  it("has colours only when asked to", () => {
    const planned = plan(cut, observed(fused));
    const coloured = renderPlan("demo", cut, planned, { color: true });
    expect(coloured).toContain("\u001b[");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape codes are what is looked for
    expect(coloured.replaceAll(/\u001b\[[0-9;]*m/g, "")).toBe(
      renderPlan("demo", cut, planned, { color: false }),
    );
  });
});

describe("the difference of two tables", () => {
  it("is told by names", () => {
    const other = tableOf(
      stack({ ...parts, d3: file(2 * MIB), safe: mirror("d3", "wide") }, { disk: "safe" }),
    );
    expect(diffTables(fused, other)).toMatchInlineSnapshot(`
      [
        {
          "after": "d3, wide",
          "before": "wide, d2",
          "path": "devices.safe.layers.safe.members",
        },
        {
          "after": null,
          "before": "memory 2MiB",
          "path": "devices.safe.layers.d2",
        },
        {
          "after": "file 2MiB",
          "before": null,
          "path": "devices.safe.layers.d3",
        },
        {
          "after": null,
          "before": "safe",
          "path": "devices.safe.exports.data",
        },
        {
          "after": "safe",
          "before": null,
          "path": "devices.safe.exports.disk",
        },
      ]
    `);
  });
  it("of a stack that comes or goes is one change", () => {
    expect(diffTables(null, cut)).toEqual([{ path: "devices", before: null, after: "wide, safe" }]);
    expect(diffTables(cut, null)).toEqual([{ path: "devices", before: "wide, safe", after: null }]);
    expect(diffTables(null, null)).toEqual([]);
  });
});
