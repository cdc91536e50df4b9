/** Which actions of a plan may begin now. The plan's own order is right; this finds what of it can go side by side. */

import type { Table } from "../../compile/table.js";
import type { Observed } from "../../plan/observed.js";
import type { Action, Plan } from "../../plan/plan.js";
import type { DeviceActionKind } from "./contract.js";

/** The three parts of a plan, each finished before the next begins. */
export const STAGES = ["release", "make", "raise"] as const;
export type Stage = (typeof STAGES)[number];

export interface DeviceAction {
  readonly kind: DeviceActionKind;
  readonly device: string;
}

/** The device actions of a stage, in the order of the plan. */
export function actionsOf(plan: Plan, stage: "release" | "raise"): DeviceAction[] {
  return plan.actions.flatMap(({ kind, device }) => {
    if (device === null || kind === "none" || kind === "create-file") return [];
    const releases = kind === "stop" || kind === "pause";
    return releases === (stage === "release") ? [{ kind, device }] : [];
  });
}

/** Layers whose files are to be made. */
export function filesOf(plan: Plan): string[] {
  return plan.actions.flatMap((action: Action) =>
    action.kind === "create-file" && action.layer !== null ? [action.layer] : [],
  );
}

/**
 * The actions that may begin: going up, a device waits for those that it opens; going down, for those that have it
 * open. Only devices of this stage are waited for.
 * @param begun devices whose action has begun, finished or not
 * @param finished devices whose action is done
 */
export function runnable(
  stage: "release" | "raise",
  actions: readonly DeviceAction[],
  desired: Table | null,
  observed: Observed,
  begun: ReadonlySet<string>,
  finished: ReadonlySet<string>,
): DeviceAction[] {
  const opens = (device: string): readonly string[] =>
    stage === "raise"
      ? (desired?.devices.find((entry) => entry.name === device)?.opens ?? [])
      : (observed.devices.find((entry) => entry.name === device)?.table?.opens ?? []);
  const waitsFor = (device: string): string[] =>
    actions
      .map((other) => other.device)
      .filter((other) => (stage === "raise" ? opens(device).includes(other) : opens(other).includes(device)));
  return actions.filter(
    ({ device }) => !begun.has(device) && waitsFor(device).every((other) => finished.has(other)),
  );
}
