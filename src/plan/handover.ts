/**
 * Media and devices have one holder: whoever gives one up must have let go before the next one takes it. Servers
 * that stay but change are paused for that, and go on later in the same plan.
 */

import { byName, parentsFirst } from "../compile/order.js";
import type { Device } from "../compile/table.js";
import { type Leaf, leavesOf } from "./content.js";
import type { Observed } from "./observed.js";
import { isThere, type Verdict } from "./verdict.js";

type Verdicts = ReadonlyMap<string, Verdict>;

/** Names of the observed devices, each before those that it opens. */
export function topDown(observed: Observed): string[] {
  const there = new Map(observed.devices.filter(isThere).map((device) => [device.name, device]));
  const below = (name: string) => (there.get(name)?.table?.opens ?? []).filter((other) => there.has(other));
  return parentsFirst([...there.keys()].sort(byName), below);
}

/**
 * Devices that must let go of something before the plan brings anything up, and why.
 * @returns by name, only devices that are to be reloaded and have a server that can be paused
 */
export function releases(
  wanted: readonly Device[],
  observed: Observed,
  verdicts: Verdicts,
): Map<string, string> {
  const takers = new Map<string, string[]>();
  for (const device of wanted) {
    for (const { place } of leavesOf(device)) takers.set(place, [...(takers.get(place) ?? []), device.name]);
  }

  const released = new Map<string, string>();
  for (const seen of observed.devices) {
    const verdict = verdicts.get(seen.name);
    if (verdict?.kind !== "reload" || seen.table === null || seen.server !== "running") continue;
    const removed = seen.table.opens.find((name) => isRemoved(verdicts.get(name)));
    if (removed !== undefined) {
      released.set(seen.name, `lets go of device "${removed}"`);
      continue;
    }
    const given = leavesOf(seen.table).find(({ place }) =>
      takers.get(place)?.some((taker) => taker !== seen.name),
    );
    if (given !== undefined) released.set(seen.name, `lets go of layer "${given.layer}"`);
  }
  return released;
}

const isRemoved = (verdict: Verdict | undefined) => verdict?.kind === "stop" || verdict?.kind === "recreate";

/** Leaves that are not there, of devices that get a new server, each place once. */
export function missingLeaves(wanted: readonly Device[], observed: Observed, verdicts: Verdicts): Leaf[] {
  const found = new Map<string, Leaf>();
  for (const device of wanted) {
    const kind = verdicts.get(device.name)?.kind;
    if (kind === "none" || kind === "adopt") continue;
    for (const leaf of leavesOf(device)) {
      if (!leaf.creatable || observed.leaves.get(leaf.layer) !== "missing") continue;
      if (!found.has(leaf.place)) found.set(leaf.place, leaf);
    }
  }
  return [...found.values()];
}
