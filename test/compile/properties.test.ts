import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compile } from "../../src/compile/compile.js";
import type { Table, TableLayer } from "../../src/compile/table.js";
import { Contents, keeper } from "../../src/plan/content.js";
import type { StackSpec } from "../../src/spec/stack-spec.js";
import { arbitraryStack, arbitraryWorld } from "./arbitrary.js";
import { expectSoundTable } from "./table-rules.js";

const RUNS = { numRuns: 100 };

/** The table, or null where the only complaint is that this host has no ublk. */
function tableOf(spec: StackSpec, world: Parameters<typeof compile>[1]): Table | null {
  const { table, findings } = compile(spec, world);
  const errors = findings.filter((finding) => finding.severity === "error");
  expect(errors.filter((finding) => finding.code !== "no-ublk")).toEqual([]);
  expect(table === null).toBe(errors.length > 0);
  return table;
}

describe("every valid stack", () => {
  it("becomes a sound table", () => {
    fc.assert(
      fc.property(arbitraryStack(), arbitraryWorld(), (spec, world) => {
        const table = tableOf(spec, world);
        if (table !== null) expectSoundTable(table);
      }),
      RUNS,
    );
  });

  it("becomes the same bytes whatever the order of its keys", () => {
    fc.assert(
      fc.property(arbitraryStack(), arbitraryWorld(), fc.integer(), (spec, world, seed) => {
        const shuffle = <V>(map: ReadonlyMap<string, V>): Map<string, V> => {
          const rank = (name: string) =>
            Math.imul(seed | 1, name.length * 31 + Number(name.slice(1)) * 7919) >>> 0;
          return new Map([...map].sort(([a], [b]) => rank(a) - rank(b)));
        };
        const shuffled = { ...spec, layers: shuffle(spec.layers), exports: shuffle(spec.exports) };
        expect(JSON.stringify(tableOf(shuffled, world))).toBe(JSON.stringify(tableOf(spec, world)));
      }),
      RUNS,
    );
  });

  it("shows every export once, on the frontend it asks for", () => {
    fc.assert(
      fc.property(arbitraryStack(), arbitraryWorld(), (spec, world) => {
        const table = tableOf(spec, world);
        if (table === null) return;
        const shown = table.devices.flatMap((device) =>
          device.exports.flatMap((entry) =>
            entry.name === null ? [] : [[entry.name, device.frontend] as const],
          ),
        );
        expect(shown.map(([name]) => name).sort()).toEqual([...spec.exports.keys()].sort());
        for (const [name, frontend] of shown) {
          const wanted = spec.exports.get(name)?.frontend;
          const expected = wanted === "auto" ? (world.host.ublk ? "ublk" : "nbd") : wanted;
          expect(frontend).toBe(expected);
        }
      }),
      RUNS,
    );
  });

  it("has the same bytes at the same places fused and layered", () => {
    fc.assert(
      fc.property(arbitraryStack(), (spec) => {
        const world = { media: new Map(), host: { ublk: true, cpus: 2 } };
        const [fused, layered] = (["fused", "layered"] as const).map((compose) =>
          new Contents(tableOf({ ...spec, compose }, world)?.devices ?? []).exports(),
        );
        const keeps = keeper({ current: () => true });
        for (const [name, content] of fused ?? []) {
          const other = layered?.get(name);
          expect(other !== undefined && keeps(content, other, content.layer.sizeBytes)).toBe(true);
          expect(other?.layer.sizeBytes).toBe(content.layer.sizeBytes);
        }
      }),
      RUNS,
    );
  });
});

describe("sizes", () => {
  const RULES: Record<string, (layer: TableLayer, members: number[]) => number> = {
    linear: (_, members) => members.reduce((sum, size) => sum + size, 0),
    stripe: ({ params }, members) => {
      const chunk = Number(params.chunkBytes);
      return members.length * Math.floor(Math.min(...members) / chunk) * chunk;
    },
    mirror: ({ geometry }, members) =>
      Math.floor(Math.min(...members) / geometry.logicalBlockBytes) * geometry.logicalBlockBytes,
    partition: ({ params }, [base = 0]) => base - Number(params.offsetBytes),
    error: (_, [base = 0]) => base,
  };

  it("add up as each mapping says", () => {
    let checked = 0;
    fc.assert(
      fc.property(arbitraryStack(), (spec) => {
        const table = tableOf(spec, { media: new Map(), host: { ublk: true, cpus: 2 } });
        for (const device of table?.devices ?? []) {
          for (const layer of device.layers) {
            const rule = RULES[layer.type];
            if (rule === undefined) continue;
            const members = layer.children.map((child) => device.layers[child]?.sizeBytes ?? Number.NaN);
            expect(layer.sizeBytes).toBe(rule(layer, members));
            checked++;
          }
        }
      }),
      RUNS,
    );
    expect(checked).toBeGreaterThan(100);
  });
});
