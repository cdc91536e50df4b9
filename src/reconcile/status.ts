/** From what was observed to the status item: what runs, what it says about itself, and what to know about it. */

import type { Device } from "../compile/table.js";
import { linkPath } from "./export-access.js";
import type { DeviceView, StackView } from "./observe.js";
import { type Paths, stackLog } from "./paths.js";
import { socketOf } from "./preflight/preflight.js";
import type { ServerReport } from "./server-report.js";
import type { RunnerState } from "./stack-runner.js";
import type {
  Condition,
  DevicePhase,
  DeviceStatus,
  ExportStatus,
  MirrorStatus,
  StackPhase,
  StackStatus,
  StatusItem,
} from "./status-schema.js";
import type { StoredStack } from "./store.js";

export interface StatusInput {
  readonly stored: StoredStack;
  readonly paths: Paths;
  readonly view: StackView;
  readonly state: RunnerState;
  /** Why the stack is not as it should be, if so. */
  readonly trouble: string | null;
  readonly deleting: boolean;
  readonly restartsOf: (device: string) => number;
  /** The state of the device's machine. */
  readonly activityOf: (device: string) => string | null;
}

export function statusItem(input: StatusInput): StatusItem {
  const { stored, paths } = input;
  const devices = stored.table.devices.map((device) => deviceStatus(device, input));
  const reports = reportsOf(input);
  const mirrors = reports.flatMap(({ device, report }) =>
    report.mirrors.map((mirror): MirrorStatus => ({ device, ...mirror })),
  );
  const status: StackStatus = {
    phase: stackPhase(input, devices),
    compose: stored.table.compose,
    exports: exportStatuses(stored, devices, input),
    devices,
    queues: reports.flatMap(({ device, report }) =>
      report.queues.map((queue, index) => ({
        device,
        queue: index,
        ...queue,
        // A server of an earlier build does not speak of it.
        kernel: queue.kernel ?? null,
      })),
    ),
    layers: reports.flatMap(({ device, report }) => report.layers.map((layer) => ({ device, ...layer }))),
    mirrors,
    instruments: reports.flatMap(({ device, report }) =>
      // A server of an earlier build does not speak of them.
      (report.instruments ?? []).map((instrument) => ({ device, ...instrument })),
    ),
    sync: overallSync(mirrors),
    conditions: [],
    baseDir: stored.baseDir,
    logFile: stackLog(paths, stored.name),
    createdFiles: [...stored.createdFiles],
  };
  status.conditions.push(...conditionsOf(status, stored, input.trouble));
  return { apiVersion: "ublk-stack/v1", kind: "Stack", metadata: { name: stored.name }, status };
}

/** A stack whose state cannot be read: it can be seen, and deleted. */
export function unreadableItem(name: string, paths: Paths, message: string): StatusItem {
  return {
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name },
    status: {
      phase: "Failed",
      compose: "fused",
      exports: {},
      devices: [],
      queues: [],
      layers: [],
      mirrors: [],
      instruments: [],
      sync: null,
      conditions: [failed("state-corrupt", message)],
      baseDir: "/",
      logFile: stackLog(paths, name),
      createdFiles: [],
    },
  };
}

function reportsOf({ stored, view }: StatusInput): { device: string; report: ServerReport }[] {
  return stored.table.devices.flatMap(({ name }) => {
    const report = view.devices.get(name)?.report;
    return report == null ? [] : [{ device: name, report }];
  });
}

function stackPhase({ state, deleting }: StatusInput, devices: readonly DeviceStatus[]): StackPhase {
  if (deleting) return "Stopping";
  if (devices.every((device) => device.phase === "Ready")) return "Ready";
  if (state === "troubled" || state === "blocked") return "Failed";
  const lost = devices.some((device) => device.phase === "Recovering" || device.restarts > 0);
  return lost ? "Recovering" : "Starting";
}

const DOING: Readonly<Record<string, DevicePhase>> = {
  starting: "Starting",
  recovering: "Recovering",
  adjusting: "Reloading",
  reloading: "Reloading",
  pausing: "Reloading",
  stopping: "Stopping",
  adopting: "Recovering",
};

function devicePhase(view: DeviceView | undefined, activity: string | null): DevicePhase {
  if (view?.report?.phase === "ready" && view.observed.phase === "live") return "Ready";
  const doing = DOING[activity ?? ""];
  if (doing !== undefined) return doing;
  if (view === undefined || view.observed.phase === "absent") return "Absent";
  return view.observed.phase === "failed" ? "Failed" : "Recovering";
}

function deviceStatus(device: Device, { view, restartsOf, activityOf, trouble }: StatusInput): DeviceStatus {
  const seen = view.devices.get(device.name);
  const id = seen?.observed.id ?? null;
  const phase = devicePhase(seen, activityOf(device.name));
  return {
    name: device.name,
    frontend: device.frontend,
    phase,
    device: id === null ? null : `/dev/ublkb${id}`,
    id,
    opens: [...device.opens],
    supervisorPid: seen?.supervisorPid ?? null,
    serverPid: seen?.serverPid ?? null,
    restarts: restartsOf(device.name),
    uptimeMs: seen?.report?.uptimeMs ?? null,
    rssBytes: seen?.report?.rssBytes ?? null,
    error: phase === "Ready" ? null : trouble,
  };
}

function exportStatuses(
  stored: StoredStack,
  devices: readonly DeviceStatus[],
  { view, paths }: StatusInput,
): Record<string, ExportStatus> {
  const entries = stored.table.devices.flatMap((device, index) =>
    device.exports.flatMap((entry): [string, ExportStatus][] => {
      const { name } = entry;
      const [layer, status] = [device.layers[entry.root], devices[index]];
      if (name === null || layer === undefined || status === undefined) return [];
      const isNbd = device.frontend === "nbd";
      const clients = view.devices
        .get(device.name)
        ?.report?.exports.find((one) => one.name === name)?.clients;
      return [
        [
          name,
          {
            phase: status.phase,
            frontend: device.frontend,
            layer: layer.name,
            readOnly: entry.readOnly,
            sizeBytes: layer.sizeBytes,
            uri: isNbd ? nbdUri(name, socketOf(stored, paths)) : null,
            device: status.device,
            path: isNbd || paths.linkDir === null ? null : linkPath(paths.linkDir, stored.name, name),
            tcp: device.nbd?.tcp ?? null,
            clients: isNbd ? (clients ?? 0) : null,
          },
        ],
      ];
    }),
  );
  return Object.fromEntries(entries);
}

/** https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md */
export function nbdUri(name: string, socket: string): string {
  const path = socket.split("/").map(encodeURIComponent).join("/");
  return `nbd+unix:///${encodeURIComponent(name)}?socket=${path}`;
}

function overallSync(mirrors: readonly MirrorStatus[]): StackStatus["sync"] {
  const running = mirrors.flatMap((mirror) => mirror.sync ?? []);
  if (running.length === 0) return null;
  return {
    doneBytes: running.reduce((sum, sync) => sum + sync.doneBytes, 0),
    totalBytes: running.reduce((sum, sync) => sum + sync.totalBytes, 0),
  };
}

function conditionsOf(status: StackStatus, stored: StoredStack, trouble: string | null): Condition[] {
  const conditions: Condition[] = [];
  if (trouble !== null && status.phase !== "Ready") conditions.push(failed("Trouble", trouble));
  for (const mirror of status.mirrors) {
    for (const member of mirror.members) {
      if (member.state === "in-sync") continue;
      const dropped = member.state === "dropped";
      const why = member.reason === undefined ? "" : `: ${member.reason}`;
      conditions.push({
        type: dropped ? "Degraded" : "Syncing",
        status: "True",
        reason: dropped ? "MemberDropped" : "MemberSyncing",
        message: `mirror "${mirror.layer}" ${dropped ? "lost" : "copies to"} member "${member.name}"${why}`,
        layer: mirror.layer,
      });
    }
  }
  for (const layer of status.layers) {
    const counts = Object.entries(layer.errors).filter(([, count]) => count > 0);
    if (counts.length === 0) continue;
    const words = counts.map(([errno, count]) => `${count} × ${errno}`).join(", ");
    conditions.push({
      type: "Errors",
      status: "True",
      reason: "RequestsFailed",
      message: `requests failed on layer "${layer.name}": ${words}`,
      layer: layer.name,
    });
  }
  if (asksLayered(stored) && stored.table.compose === "fused") {
    conditions.push({
      type: "Fused",
      status: "True",
      reason: "NoUblkExport",
      message: "compose: layered needs ublk; the stack is served fused, with the same data",
      layer: null,
    });
  }
  return conditions;
}

function failed(reason: string, message: string): Condition {
  return { type: "Failed", status: "True", reason, message, layer: null };
}

const asksLayered = ({ document }: { document: { spec?: { compose?: string } } }) =>
  document.spec?.compose === "layered";

/** Whether every mirror has all of its members, as `wait --for=synced` asks. */
export function isSynced({ status }: StatusItem): boolean {
  return status.mirrors.every(
    (mirror) => mirror.sync === null && mirror.members.every((one) => one.state === "in-sync"),
  );
}
