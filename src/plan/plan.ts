/**
 * (desired, observed) → the ordered actions that lead from the one to the other.
 *
 *   1  release, top-down    stop what goes for good or is made anew, pause what must let go of media or devices
 *   2  make                 create missing files
 *   3  bring up, bottom-up  start, recover, adjust, reload, recreate, adopt; none where nothing is to be done
 *
 * The order of the actions is the order to execute them in. Applied to what was observed they converge: the next
 * plan is all "none". Data files are never deleted.
 */

import type { Device, Table } from "../compile/table.js";
import { lossesBetween } from "./content.js";
import type { Change } from "./diff.js";
import { missingLeaves, releases, topDown } from "./handover.js";
import type { Observed } from "./observed.js";
import { verdictsOf } from "./verdict.js";

export type ActionKind =
  /** Nothing is to be done. */
  | "none"
  /** Make the missing media of a layer: an empty, sparse file of its size. */
  | "create-file"
  /** End the server and leave the device waiting (quiesced): a later action of this plan brings it back. */
  | "pause"
  /** Make the device and its server. */
  | "start"
  /** The server is gone and the device waits: give it a server. */
  | "recover"
  /** Tell the running server new settings of layers: nothing restarts. */
  | "adjust"
  /** Replace the server under the device by one with the new table. */
  | "reload"
  /** Make the device anew under the new table; its `stop` stands before it in the plan. */
  | "recreate"
  /** Take device and server down. */
  | "stop"
  /** It runs as it should: watch it, and wait until it is live. */
  | "adopt";

/**
 * none            nobody can tell that anything happened
 * online          something comes, nothing goes
 * pause           clients wait for a moment and see no error
 * interrupts      clients lose device or connection
 * destroys-data   bytes that could be read before cannot be read after
 */
export type Impact = "none" | "online" | "pause" | "interrupts" | "destroys-data";

export interface Action {
  kind: ActionKind;
  /** A device of the desired or the observed stack; null for create-file. */
  device: string | null;
  /** For create-file. */
  layer: string | null;
  impact: Impact;
  /** Why, as a sentence without a full stop. */
  reason: string;
  /** How the tables differ, for reload and recreate. */
  changes: Change[];
}

/** Why a plan must not be executed as it is. */
export interface Blocked {
  code: "data-loss" | "device-in-use";
  /** The device or export that it is about. */
  subject: string;
  message: string;
  /** The option that says that it may happen. */
  unless: "allowDataLoss" | "force";
}

export interface PlanOptions {
  /** Make changes after which existing bytes cannot be read. */
  allowDataLoss?: boolean;
  /** Stop and recreate devices that somebody has open. */
  force?: boolean;
  /** Absolute paths of the desired leaves by layer name, where known. */
  paths?: Readonly<Record<string, string>>;
}

export interface Plan {
  actions: Action[];
  /** Empty, or nothing of the plan may be executed. */
  blocked: Blocked[];
}

/** Whether executing the plan changes anything that a user can see. */
export function hasChanges(plan: Plan): boolean {
  return plan.actions.some((action) => action.kind !== "none" && action.kind !== "adopt");
}

/**
 * Plan one stack.
 * @param desired null to take the stack down
 */
export function plan(desired: Table | null, observed: Observed, options: PlanOptions = {}): Plan {
  const wanted = desired?.devices ?? [];
  const verdicts = verdictsOf(wanted, observed, options);
  const released = releases(wanted, observed, verdicts);
  const missing = missingLeaves(wanted, observed, verdicts);

  const lost = new Set(missing.filter((leaf) => leaf.lasting).map((leaf) => leaf.place));
  const facts = {
    current: (mirror: string, member: string) => !observed.notCurrent.get(mirror)?.includes(member),
  };
  const before = observed.lastApplied ?? runningTable(desired, observed);
  const losses = desired === null || before === null ? [] : lossesBetween(before, desired, facts, lost);

  const blocked: Blocked[] = [];
  if (options.allowDataLoss !== true) {
    for (const loss of losses) {
      blocked.push({
        code: "data-loss",
        subject: loss.export,
        message: loss.message,
        unless: "allowDataLoss",
      });
    }
  }

  const actions: Action[] = [];
  for (const name of topDown(observed)) {
    const verdict = verdicts.get(name);
    if (verdict === undefined) continue;
    const { kind, reason } = verdict;
    const { inUse = false, phase, server } = verdict.observed ?? {};
    if (kind === "stop" || (kind === "recreate" && verdict.observed !== null)) {
      if (inUse && options.force !== true && !openedWithin(name, observed)) {
        blocked.push({
          code: "device-in-use",
          subject: name,
          message: `device "${name}" is in use and would be ${kind === "stop" ? "removed" : "made anew"}: ${reason}`,
          unless: "force",
        });
      }
      const serving = phase === "live" || server === "running";
      const impact = serving ? "interrupts" : "online";
      actions.push({
        kind: "stop",
        device: name,
        layer: null,
        impact,
        reason: kind === "stop" ? reason : "is made anew",
        changes: [],
      });
    } else if (released.has(name)) {
      const impact = verdict.desired?.frontend === "nbd" ? "interrupts" : "pause";
      const why = released.get(name) ?? "";
      actions.push({ kind: "pause", device: name, layer: null, impact, reason: why, changes: [] });
    }
  }

  for (const leaf of missing) {
    actions.push({
      kind: "create-file",
      device: null,
      layer: leaf.layer,
      impact: "online",
      reason: "is missing",
      changes: [],
    });
  }

  const losing = showing(wanted, new Set(losses.map((loss) => loss.export)));
  for (const device of wanted) {
    const verdict = verdicts.get(device.name);
    if (verdict === undefined) continue;
    const destroys = losing.has(device.name) && verdict.kind !== "none";
    const impact = destroys ? "destroys-data" : verdict.impact;
    actions.push({
      kind: verdict.kind,
      device: device.name,
      layer: null,
      impact,
      reason: verdict.reason,
      changes: verdict.changes,
    });
  }
  return { actions, blocked };
}

/** What the servers that were found were started with, when the stack's state does not say what was applied. */
function runningTable(desired: Table | null, observed: Observed): Table | null {
  const devices = observed.devices.flatMap((device) => device.table ?? []);
  if (devices.length === 0 || desired === null) return null;
  return { ...desired, devices };
}

/** A device of the stack that has this one open is no stranger: the plan takes care of it. */
function openedWithin(name: string, observed: Observed): boolean {
  return observed.devices.some(
    (other) => other.server === "running" && other.table?.opens.includes(name) === true,
  );
}

/** The devices that show one of these exports, and those below them. */
function showing(devices: readonly Device[], exports: ReadonlySet<string>): Set<string> {
  const names = new Set<string>();
  for (const device of [...devices].reverse()) {
    const shows = device.exports.some((entry) => entry.name !== null && exports.has(entry.name));
    if (!shows && !names.has(device.name)) continue;
    names.add(device.name);
    for (const below of device.opens) names.add(below);
  }
  return names;
}
