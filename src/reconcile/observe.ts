/**
 * What is there, looked at afresh every time: the run folders of a stack, their processes, what their servers say,
 * and what the driver says about their devices. Nothing is remembered but open connections.
 */

import { readdir } from "node:fs/promises";
import type { Device, Table } from "../compile/table.js";
import { NBD_DEVICE } from "../compile/table.js";
import { StackError } from "../errors.js";
import type { DevicePhase, Observed, ObservedDevice, ServerState } from "../plan/observed.js";
import type { Channels } from "./channels.js";
import type { Driver, DriverDevice } from "./driver.js";
import { holdersOf } from "./holders.js";
import { mirrorStates } from "./mirror-state.js";
import { deviceRunDir, type Paths, stackRunDir } from "./paths.js";
import { holderOf, KERNEL_FOLDERS, majorMinor, sysfsFolder } from "./preflight/block-device.js";
import { lookAt } from "./preflight/look.js";
import { processOf } from "./processes.js";
import { configFile, ownerTag, readConfig, type ServerConfig } from "./server-config.js";
import type { ServerReport } from "./server-report.js";
import { readJson } from "./state-file.js";

/** One device with more than the planner needs. */
export interface DeviceView {
  readonly observed: ObservedDevice;
  readonly config: ServerConfig | null;
  readonly report: ServerReport | null;
  readonly supervisorPid: number | null;
  readonly serverPid: number | null;
  /** Who uses it from outside of the stack, in words; see ObserveInput.thorough. */
  readonly users: readonly string[];
}

export interface StackView {
  readonly observed: Observed;
  /** By device name. */
  readonly devices: ReadonlyMap<string, DeviceView>;
}

export interface ObserveInput {
  readonly paths: Paths;
  readonly stack: string;
  /** null for a stack that is to go, or was never applied. */
  readonly desired: { readonly table: Table; readonly leafPaths: Readonly<Record<string, string>> } | null;
  readonly lastApplied: Table | null;
  readonly driver: Driver;
  readonly channels: Channels;
  /** Devices whose servers this controller has taken on. */
  readonly adopted: ReadonlySet<string>;
  /** Whether to ask every process what it has open: before something is taken away, and not all the time. */
  readonly thorough?: boolean;
}

export async function observe(input: ObserveInput): Promise<StackView> {
  const names = new Set([
    ...(await devicesIn(stackRunDir(input.paths, input.stack))),
    ...(input.desired?.table.devices.map((device) => device.name) ?? []),
    ...(input.lastApplied?.devices.map((device) => device.name) ?? []),
  ]);
  const driverDevices = await devicesByTag(input.driver);
  const views = await Promise.all([...names].sort().map((name) => observeDevice(name, input, driverDevices)));
  return {
    observed: {
      devices: views.map((view) => view.observed),
      leaves: await leavesOf(input),
      lastApplied: input.lastApplied,
      notCurrent: await mirrorStates(input.paths, input.stack, views),
    },
    devices: new Map(views.map((view) => [view.observed.name, view])),
  };
}

async function devicesIn(runDir: string): Promise<string[]> {
  try {
    const entries = await readdir(runDir, { withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function devicesByTag(driver: Driver): Promise<Map<string, DriverDevice>> {
  return new Map((await driver.list()).map((device) => [device.tag, device]));
}

async function observeDevice(
  name: string,
  { paths, stack, channels, adopted, lastApplied, thorough = false }: ObserveInput,
  driverDevices: ReadonlyMap<string, DriverDevice>,
): Promise<DeviceView> {
  const runDir = deviceRunDir(paths, stack, name);
  const config = await readableConfig(runDir);
  const supervisorPid = await processOf(`${runDir}/supervisor.pid`, configFile(runDir));
  const serverPid = await processOf(`${runDir}/server.pid`, configFile(runDir));
  const report = serverPid === null ? null : await channels.report(runDir);
  const known = driverDevices.get(ownerTag(paths.stateDir, stack, name)) ?? null;
  const table: Device | null =
    config?.table ?? lastApplied?.devices.find((device) => device.name === name) ?? null;
  const isUblk = name !== NBD_DEVICE;
  const id = known?.id ?? null;
  const server = serverState(config !== null, supervisorPid);
  const isThere = supervisorPid !== null || serverPid !== null;
  const phase = isUblk ? ublkPhase(known, report) : nbdPhase(report, isThere);
  const users = isUblk ? await deviceUsers(id, thorough) : nbdUsers(report);
  return {
    observed: {
      name,
      phase,
      table,
      ...(config === null ? {} : { paths: config.runtime.paths }),
      server,
      inUse: users.length > 0,
      id,
      adopted: adopted.has(name) && channels.isOpen(runDir),
    },
    config,
    report,
    supervisorPid,
    serverPid,
    users,
  };
}

/** A torn configuration is as good as none: the device is there, and nobody can tell what it serves. */
async function readableConfig(runDir: string): Promise<ServerConfig | null> {
  try {
    return await readConfig(runDir);
  } catch (error) {
    if (error instanceof StackError && error.code === "state-corrupt") return null;
    throw error;
  }
}

/** A worker without its supervisor serves, but nobody would replace it: that counts as dead. */
function serverState(configured: boolean, supervisorPid: number | null): ServerState {
  if (supervisorPid !== null) return "running";
  return configured ? "dead" : "absent";
}

function nbdPhase(report: ServerReport | null, isThere: boolean): DevicePhase {
  if (report?.phase === "ready") return "live";
  return isThere ? "quiesced" : "absent";
}

/** A device whose server has not said that it is ready is not live yet, whatever the driver says. */
function ublkPhase(known: DriverDevice | null, report: ServerReport | null): DevicePhase {
  if (known === null) return "absent";
  if (known.state === "live") return report?.phase === "ready" ? "live" : "quiesced";
  return ({ dead: "added", quiesced: "quiesced", "fail-io": "failed" } as const)[known.state];
}

async function deviceUsers(id: number | null, thorough: boolean): Promise<string[]> {
  if (id === null) return [];
  const path = `/dev/ublkb${id}`;
  const look = await lookAt(path);
  if (look.state !== "present" || look.kind !== "block device") return [];
  const folder = await sysfsFolder(majorMinor(look.device), KERNEL_FOLDERS);
  const holder = folder === null ? null : await holderOf(folder, KERNEL_FOLDERS);
  const openers = thorough ? await holdersOf(path) : [];
  return [...(holder === null ? [] : [holder]), ...openers.map((opener) => `opened by ${opener}`)];
}

function nbdUsers(report: ServerReport | null): string[] {
  const exports = report?.exports.filter((entry) => entry.clients > 0) ?? [];
  return exports.map(
    ({ name, clients }) => `export "${name}" has ${clients} client${clients === 1 ? "" : "s"}`,
  );
}

async function leavesOf({ desired }: ObserveInput): Promise<Map<string, "present" | "missing">> {
  const leaves = new Map<string, "present" | "missing">();
  for (const [layer, path] of Object.entries(desired?.leafPaths ?? {})) {
    const look = await lookAt(path);
    const isMissing = look.state === "missing" || (look.state === "obstructed" && look.errno === "ENOENT");
    leaves.set(layer, isMissing ? "missing" : "present");
  }
  return leaves;
}

/** The number that the server wrote down right after it got its device. */
export async function deviceId(runDir: string): Promise<number | null> {
  const value = await readJson(`${runDir}/device.json`);
  const { id } = (value ?? {}) as { id?: unknown };
  return typeof id === "number" ? id : null;
}
