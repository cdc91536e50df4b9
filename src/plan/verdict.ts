/** What is to become of each device by itself and of those that it opens. */

import type { Device, DeviceExport, TableLayer, UblkSettings } from "../compile/table.js";
import type { Keeps } from "../layers/kind.js";
import { adjustableParams } from "../layers/registry.js";
import { Contents, keeper, leavesOf } from "./content.js";
import { type Change, diffDevices } from "./diff.js";
import type { Observed, ObservedDevice } from "./observed.js";
import type { ActionKind, Impact, PlanOptions } from "./plan.js";

export interface Verdict {
  kind: Exclude<ActionKind, "create-file" | "pause">;
  impact: Impact;
  reason: string;
  changes: Change[];
  desired: Device | null;
  observed: ObservedDevice | null;
}

/** By device name, for every device that is wanted or there. */
export function verdictsOf(
  wanted: readonly Device[],
  observed: Observed,
  options: PlanOptions,
): Map<string, Verdict> {
  const there = new Map(observed.devices.filter(isThere).map((device) => [device.name, device]));
  const stays = contentQuestion(wanted, observed);
  const verdicts = new Map<string, Verdict>();

  for (const device of wanted) {
    const seen = there.get(device.name) ?? null;
    const judged =
      seen === null ? judge("start", "online", "is not there") : judgeDevice(device, seen, stays, options);
    verdicts.set(device.name, { ...judged, desired: device, observed: seen });
  }
  for (const [name, seen] of there) {
    if (verdicts.has(name)) continue;
    const judged = judge("stop", "interrupts", "is no longer wanted");
    verdicts.set(name, { ...judged, desired: null, observed: seen });
  }

  // Bottom-up: a server holds the very device that it opened, so a new one below needs a new server above.
  for (const device of wanted) {
    const verdict = verdicts.get(device.name);
    const renewed = device.opens.find((name) => isNew(verdicts.get(name)));
    if (verdict === undefined || renewed === undefined) continue;
    if (verdict.kind !== "none" && verdict.kind !== "adopt") continue;
    verdicts.set(device.name, {
      ...verdict,
      ...judge("reload", reloadImpact(device), `opens device "${renewed}", which is made anew`),
    });
  }
  return verdicts;
}

type Judged = Pick<Verdict, "kind" | "impact" | "reason" | "changes">;

const judge = (kind: Verdict["kind"], impact: Impact, reason: string, changes: Change[] = []): Judged => ({
  kind,
  impact,
  reason,
  changes,
});

/** Something of the device is left, be it only a server. */
export function isThere(device: ObservedDevice): boolean {
  return device.phase !== "absent" || device.server === "running";
}

const isNew = (verdict: Verdict | undefined) => verdict?.kind === "start" || verdict?.kind === "recreate";

/** The driver holds the IO of a ublk device until its next server; NBD clients have to connect again. */
function reloadImpact(device: Device): Impact {
  return device.frontend === "nbd" ? "interrupts" : "pause";
}

function judgeDevice(device: Device, seen: ObservedDevice, stays: Stays, options: PlanOptions): Judged {
  if (seen.table === null) {
    return judge("recreate", "interrupts", "is there, and nobody can tell what it serves");
  }
  const changes = [...diffDevices(seen.table, device), ...movedPaths(device, seen, options)];
  const unstarted = seen.phase === "added" && seen.server !== "running";
  if (unstarted) return judge("recreate", "online", "was never started", changes);

  if (changes.length > 0) {
    if (seen.server === "running" && seen.phase === "live" && onlyAdjusts(seen, device, options)) {
      return judge("adjust", "none", "its layers take new settings as they run", changes);
    }
    const obstacle =
      fixedPart(seen.table, device, seen.id) ??
      (stays(seen.table, device) ? null : "its bytes lie elsewhere");
    return obstacle === null
      ? judge("reload", reloadImpact(device), `${changedPart(changes)} and its outside stays`, changes)
      : judge("recreate", "interrupts", obstacle, changes);
  }
  if (seen.server !== "running") {
    const reason = seen.server === "dead" ? "its server died" : "its server does not run";
    return judge("recover", "online", reason);
  }
  if (seen.phase === "failed") return judge("reload", reloadImpact(device), "it fails its IO");
  if (seen.phase !== "live") return judge("adopt", "none", "is starting");
  return seen.adopted
    ? judge("none", "none", "unchanged")
    : judge("adopt", "none", "runs unchanged, unwatched");
}

/** Whether nothing differs but params that layers take over while they run. */
function onlyAdjusts(seen: ObservedDevice, device: Device, options: PlanOptions): boolean {
  if (seen.table === null || movedPaths(device, seen, options).length > 0) return false;
  return diffDevices(withoutAdjustable(seen.table), withoutAdjustable(device)).length === 0;
}

function withoutAdjustable(device: Device): Device {
  const layers = device.layers.map((layer) => {
    const adjustable = adjustableParams(layer.type);
    const params = Object.entries(layer.params).filter(([name]) => !adjustable.includes(name));
    return { ...layer, params: Object.fromEntries(params) };
  });
  return { ...device, layers };
}

function changedPart(changes: readonly Change[]): string {
  const isOfServer = changes.every(({ path }) => path.startsWith("ublk."));
  return isOfServer ? "its server's settings change" : "its layers change";
}

/** Leaves whose paths now lead to another place, though the text is the same. */
function movedPaths(device: Device, seen: ObservedDevice, { paths }: PlanOptions): Change[] {
  return leavesOf(device).flatMap((leaf): Change[] => {
    const [before, after] = [seen.paths?.[leaf.layer], paths?.[leaf.layer]];
    if (before === undefined || after === undefined || before === after) return [];
    return [{ path: `layers.${leaf.layer}.path`, before, after }];
  });
}

/**
 * What cannot be changed under a device that somebody may have open.
 * @param id the number that the device has now
 * @returns the reason, or null when all of that stays
 */
function fixedPart(before: Device, after: Device, id: number | null): string | null {
  if (before.frontend !== after.frontend) return "its frontend changes";
  if (before.ublk !== null && after.ublk !== null && ublkSettings(before.ublk, after.ublk, id)) {
    return "its ublk settings change";
  }
  if (before.nbd?.socket !== after.nbd?.socket || before.nbd?.tcp !== after.nbd?.tcp)
    return "its address changes";
  for (const entry of before.exports) {
    const successor =
      after.frontend === "ublk" ? after.exports[0] : after.exports.find((other) => other.name === entry.name);
    if (successor === undefined) return `export "${entry.name}" goes`;
    const reason = exportChange(before, entry, after, successor);
    if (reason !== null) return reason;
  }
  return null;
}

/** Whether settings change that the driver fixes with the device; engine and poll are a matter of its server. */
function ublkSettings(before: UblkSettings, after: UblkSettings, id: number | null): boolean {
  const sameId = after.id === -1 || after.id === (id ?? before.id);
  return before.queues !== after.queues || before.depth !== after.depth || !sameId;
}

function exportChange(before: Device, old: DeviceExport, after: Device, entry: DeviceExport): string | null {
  const [was, is] = [before.layers[old.root], after.layers[entry.root]];
  if (was === undefined || is === undefined || was.name !== is.name) return "it shows another layer";
  if (was.sizeBytes !== is.sizeBytes)
    return `its size changes from ${was.sizeBytes} to ${is.sizeBytes} bytes`;
  if (old.readOnly !== entry.readOnly) return entry.readOnly ? "it becomes read-only" : "it becomes writable";
  const changed = geometryChange(was, is);
  return changed === undefined ? null : `its geometry changes: ${changed}`;
}

function geometryChange(before: TableLayer, after: TableLayer): string | undefined {
  const keys = Object.keys(after.geometry) as (keyof TableLayer["geometry"])[];
  return keys.find((key) => before.geometry[key] !== after.geometry[key]);
}

/** Whether the exports of a device go on showing the same bytes, which is what its clients rely on. */
type Stays = (before: Device, after: Device) => boolean;

/** Dropped members do not matter here: the mirror above them knows. */
function contentQuestion(wanted: readonly Device[], observed: Observed): Stays {
  const old = new Contents(observed.devices.flatMap((device) => device.table ?? []));
  const fresh = new Contents(wanted);
  const keeps: Keeps = keeper({ current: () => true });
  return (before, after) =>
    before.exports.every((entry) => {
      const successor = after.exports.find((other) => other.name === entry.name) ?? after.exports[0];
      if (successor === undefined) return false;
      const content = old.of(before, entry.root);
      return keeps(content, fresh.of(after, successor.root), content.layer.sizeBytes);
    });
}
