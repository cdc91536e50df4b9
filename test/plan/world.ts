/** Worlds to plan in: a table that runs, and what may be wrong with it. */
import type { Device, Table } from "../../src/compile/table.js";
import { leavesOf } from "../../src/plan/content.js";
import { NOTHING_OBSERVED, type Observed, type ObservedDevice } from "../../src/plan/observed.js";
import { type Plan, type PlanOptions, plan } from "../../src/plan/plan.js";

/** A device as it is when all is well. */
export function running(table: Device, rest: Partial<ObservedDevice> = {}): ObservedDevice {
  const id = table.frontend === "ublk" ? 0 : null;
  return {
    name: table.name,
    phase: "live",
    table,
    server: "running",
    inUse: false,
    id,
    adopted: true,
    ...rest,
  };
}

/** A stack that was applied and runs; changes to single devices by their names. */
export function observed(table: Table, changes: Record<string, Partial<ObservedDevice>> = {}): Observed {
  return {
    ...NOTHING_OBSERVED,
    devices: table.devices.map((device) => running(device, changes[device.name])),
    lastApplied: table,
  };
}

/** The state of every leaf of a table: all missing before the first apply. */
export function leaves(table: Table, state: "present" | "missing"): Observed["leaves"] {
  return new Map(
    table.devices.flatMap((device) => leavesOf(device).map((leaf) => [leaf.layer, state] as const)),
  );
}

/** Each action in one line: "reload safe (pause)". */
export function actions(planned: Plan): string[] {
  return planned.actions.map(
    ({ kind, device, layer, impact }) =>
      `${kind} ${device ?? layer}${impact === "none" ? "" : ` (${impact})`}`,
  );
}

export function steps(desired: Table | null, world: Observed, options?: PlanOptions): string[] {
  return actions(plan(desired, world, options));
}

export function blocks(desired: Table | null, world: Observed, options?: PlanOptions): string[] {
  return plan(desired, world, options).blocked.map(({ code, message }) => `${code}: ${message}`);
}
