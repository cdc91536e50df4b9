/** What executing a plan makes of the world: the model that tests hold executors and planner against. */

import type { Table } from "../compile/table.js";
import type { Observed, ObservedDevice } from "./observed.js";
import type { Plan } from "./plan.js";

/**
 * The world after every action of the plan has succeeded.
 * @throws RangeError for an action that names a device which is in neither world
 */
export function simulate(desired: Table | null, observed: Observed, plan: Plan): Observed {
  const devices = new Map(observed.devices.map((device) => [device.name, device]));
  const leaves = new Map(observed.leaves);
  const wanted = new Map(desired?.devices.map((device) => [device.name, device]));

  const serve = (name: string, id: number | null): ObservedDevice => {
    const table = wanted.get(name);
    if (table === undefined) throw new RangeError(`the plan brings up "${name}", which nobody wants`);
    return { name, phase: "live", table, server: "running", inUse: false, id, adopted: true };
  };
  const there = (name: string): ObservedDevice => {
    const device = devices.get(name);
    if (device === undefined) throw new RangeError(`the plan acts on "${name}", which is not there`);
    return device;
  };

  const effects: Record<Plan["actions"][number]["kind"], (name: string) => void> = {
    none: () => undefined,
    "create-file": (layer) => leaves.set(layer, "present"),
    adjust: (name) => devices.set(name, { ...there(name), table: serve(name, null).table }),
    pause: (name) => devices.set(name, { ...there(name), phase: "quiesced", server: "absent" }),
    start: (name) => devices.set(name, serve(name, null)),
    recover: (name) => devices.set(name, { ...serve(name, there(name).id), inUse: there(name).inUse }),
    reload: (name) => devices.set(name, { ...serve(name, there(name).id), inUse: there(name).inUse }),
    recreate: (name) => devices.set(name, serve(name, null)),
    stop: (name) => devices.delete(there(name).name),
    adopt: (name) => devices.set(name, { ...there(name), phase: "live", adopted: true }),
  };
  for (const action of plan.actions) effects[action.kind](action.device ?? action.layer ?? "");
  return { ...observed, devices: [...devices.values()], leaves, lastApplied: desired };
}
