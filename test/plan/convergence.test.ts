import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Table } from "../../src/compile/table.js";
import { leavesOf } from "../../src/plan/content.js";
import { diffTables } from "../../src/plan/diff.js";
import type { Observed, ObservedDevice } from "../../src/plan/observed.js";
import { hasChanges, plan } from "../../src/plan/plan.js";
import { simulate } from "../../src/plan/simulate.js";
import { isThere } from "../../src/plan/verdict.js";
import { arbitraryTable, arbitraryVariants } from "../compile/arbitrary.js";
import { running } from "./world.js";

const RUNS = { numRuns: 100 };

/** What may have happened to a device since it was brought up. */
const fate = fc.record({
  phase: fc.constantFrom<ObservedDevice["phase"]>(
    "live",
    "live",
    "live",
    "absent",
    "added",
    "quiesced",
    "failed",
  ),
  server: fc.constantFrom<ObservedDevice["server"]>("running", "running", "dead", "absent"),
  inUse: fc.boolean(),
  adopted: fc.boolean(),
  unknown: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  id: fc.option(fc.nat(5)),
});

interface Fates {
  fates: {
    phase: ObservedDevice["phase"];
    server: ObservedDevice["server"];
    unknown: boolean;
    id: number | null;
  }[];
  missing: boolean[];
  applied: boolean;
  dropped: boolean;
}

const fates = fc.record({
  fates: fc.array(fate, { minLength: 12, maxLength: 12 }),
  missing: fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
  applied: fc.boolean(),
  dropped: fc.boolean(),
});

/** A stack that once ran, in any state it can be found in, with any files missing. */
function worldOf(table: Table, { fates, missing, applied, dropped }: Fates): Observed {
  const devices = table.devices.map((device, index) => {
    const { unknown = false, ...rest } = fates[index % fates.length] ?? {};
    return running(device, { ...rest, ...(unknown ? { table: null } : {}) });
  });
  const names = Array.from({ length: 60 }, (_, i) => `l${i}`);
  return {
    devices,
    leaves: new Map(names.map((name, i) => [name, missing[i % missing.length] ? "missing" : "present"])),
    lastApplied: applied ? table : null,
    notCurrent: new Map(dropped ? names.map((name) => [name, ["l0", "l2"]]) : []),
  };
}

/** What is wanted and what is found: unrelated, or the same layers cut in another way, or going altogether. */
const situation = fc
  .tuple(
    fc.oneof<fc.Arbitrary<[Table | null, Table]>[]>(
      arbitraryVariants(),
      arbitraryVariants(),
      fc.tuple(arbitraryTable(), arbitraryTable()),
      arbitraryTable().map((table) => [null, table]),
    ),
    fates,
  )
  .map(([[desired, ran], seen]): [Table | null, Observed] => [desired, worldOf(ran, seen)]);

const ALLOW = { allowDataLoss: true, force: true };

describe("every plan", () => {
  it("converges: after it, nothing is left to do", () => {
    fc.assert(
      fc.property(situation, ([desired, before]) => {
        const after = simulate(desired, before, plan(desired, before, ALLOW));
        const again = plan(desired, after);
        expect(again.actions.filter((action) => action.kind !== "none")).toEqual([]);
        expect(again.blocked).toEqual([]);
        expect(again.actions.map((action) => action.device)).toEqual(
          desired?.devices.map(({ name }) => name) ?? [],
        );
        expect(hasChanges(again)).toBe(false);
        const left = after.devices.filter(isThere);
        expect(left.map((device) => device.name).sort()).toEqual(
          (desired?.devices ?? []).map((device) => device.name).sort(),
        );
      }),
      RUNS,
    );
  });

  it("can be executed in its order: one holder for everything, nothing pulled from under a server", () => {
    fc.assert(
      fc.property(situation, ([desired, before]) => {
        const holders = new Holders(before);
        for (const action of plan(desired, before, ALLOW).actions) {
          if (action.device !== null) holders.act(action.kind, action.device, desired);
        }
      }),
      RUNS,
    );
  });

  it("speaks of every device, is the same for the same world, and allows all when told to", () => {
    fc.assert(
      fc.property(situation, ([desired, before]) => {
        const first = plan(desired, before, ALLOW);
        expect(JSON.stringify(plan(desired, structuredClone(before), ALLOW))).toBe(JSON.stringify(first));
        expect(first.blocked).toEqual([]);
        const named = new Set(first.actions.map((action) => action.device));
        for (const device of desired?.devices ?? []) expect(named).toContain(device.name);
        expect(first.actions).toEqual(plan(desired, before).actions);
      }),
      RUNS,
    );
  });
});

describe("the difference of two tables", () => {
  it("is empty exactly for equal tables", () => {
    fc.assert(
      fc.property(arbitraryTable(), arbitraryTable(), (a, b) => {
        expect(diffTables(a, structuredClone(a))).toEqual([]);
        const equal = JSON.stringify({ ...a, stack: "" }) === JSON.stringify({ ...b, stack: "" });
        if (!equal) expect(diffTables(a, b)).not.toEqual([]);
      }),
      RUNS,
    );
  });
});

/** Who holds which device and writable leaf while a plan is executed, as locks and exclusive opens would have it. */
class Holders {
  readonly #holding = new Map<string, { writes: string[]; opens: string[] }>();
  readonly #devices: Set<string>;

  constructor(before: Observed) {
    this.#devices = new Set(before.devices.filter((d) => d.phase !== "absent").map((d) => d.name));
    for (const { name, server, table } of before.devices) {
      if (server === "running" && table !== null) this.#hold(name, table);
    }
  }

  act(kind: string, name: string, desired: Table | null): void {
    const device = desired?.devices.find((other) => other.name === name);
    if (kind === "stop" || kind === "pause") {
      this.#holding.delete(name);
      if (kind === "pause") return;
      for (const [holder, { opens }] of this.#holding) {
        if (opens.includes(name)) throw new Error(`${name} is stopped under the running server of ${holder}`);
      }
      this.#devices.delete(name);
      return;
    }
    if (device === undefined) throw new Error(`${kind} of ${name}, which nobody wants`);
    this.#holding.delete(name);
    for (const below of device.opens) {
      if (!this.#devices.has(below)) throw new Error(`${name} opens ${below}, which is not there`);
    }
    this.#devices.add(name);
    this.#hold(name, device);
  }

  #hold(name: string, device: Table["devices"][number]): void {
    const writes = leavesOf(device).flatMap((leaf) => (leaf.readOnly ? [] : [leaf.place]));
    for (const [holder, held] of this.#holding) {
      const both = held.writes.find((place) => writes.includes(place));
      if (both !== undefined) throw new Error(`${name} takes ${both}, which ${holder} still holds`);
    }
    this.#holding.set(name, { writes, opens: device.opens });
  }
}
