/**
 * What the machines of one stack can do to the world: each method brings one device one step on, bounded in time, and
 * may be repeated after a crash at any point.
 */

import { existsSync } from "node:fs";
import { mkdir, readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Device, Table } from "../compile/table.js";
import { StackError } from "../errors.js";
import { kindOfType } from "../layers/registry.js";
import { adjustServer } from "./adjust.js";
import type { Channels } from "./channels.js";
import type { Driver } from "./driver.js";
import { applyAccess, linkPath, placeLink, pruneLinks, removeLink } from "./export-access.js";
import { FolderChanges } from "./folder-changes.js";
import { withHolder } from "./holders.js";
import { createMemoryFile, createSparseFile } from "./leaf-effects.js";
import type { PerformInput, Report } from "./machines/contract.js";
import { deviceId } from "./observe.js";
import { deviceRunDir, memoryFile, type Paths, stackLog, stackRunDir } from "./paths.js";
import { processOf } from "./processes.js";
import { configFile, ownerTag, readConfig, type ServerConfig, serverConfig } from "./server-config.js";
import { startServer, stopServer } from "./server-process.js";
import { writeJson } from "./state-file.js";

/** How long the driver may take to end the IO of a device, and to remove it. */
const DRIVER_MS = 30_000;
/** A worker that is replaced waits up to 30 s for its predecessor's IO. */
const ADOPT_MS = 60_000;
/** Without a predecessor, whoever holds the locks is a stranger who will not let go soon. */
const FIRST_START = { lockWaitMs: 3_000 } as const;
/** A server says that it is ready on its socket, which no folder shows. */
const LOOK_MS = 50;

/** What is to run, as the effects need it. */
export interface Desired {
  readonly table: Table;
  readonly baseDir: string;
  readonly leafPaths: Readonly<Record<string, string>>;
}

export interface EffectsInput {
  readonly paths: Paths;
  readonly stack: string;
  /** Program and leading arguments of the server. */
  readonly serverCommand: readonly string[];
  readonly driver: Driver;
  readonly channels: Channels;
  readonly report: (report: Report) => void;
  /** Told when a supervisor that was started here ends. */
  readonly onServerEnd: () => void;
  /** Told before anything else happens to a file that was made: what a rollback takes back. */
  readonly onCreated: (path: string) => Promise<void>;
}

const unwanted = (device: string) =>
  new StackError("internal", `device "${device}" is to be served, and nobody wants it`);

function wantedDevice(name: string, target: Device | undefined): Device {
  if (target === undefined) throw unwanted(name);
  return target;
}

export class StackEffects {
  readonly #input: EffectsInput;
  /** Layers that were made since their servers last started: their content is known to be zeros. */
  readonly #blank = new Set<string>();

  constructor(input: EffectsInput) {
    this.#input = input;
  }

  /** Makes the missing files of these layers. */
  async createFiles(layers: readonly string[], desired: Desired): Promise<void> {
    const { paths, stack, report, onCreated } = this.#input;
    const all = desired.table.devices.flatMap((device) => device.layers);
    for (const name of layers) {
      const layer = all.find((entry) => entry.name === name);
      const path = desired.leafPaths[name];
      if (layer === undefined || path === undefined)
        throw new StackError("internal", `no path for layer "${name}"`);
      const bytes = kindOfType(layer.type).madeBytes?.(layer) ?? layer.sizeBytes;
      report({
        device: null,
        layer: name,
        phase: "creating",
        message: `making ${path}, ${bytes} bytes`,
      });
      if (path === memoryFile(paths, stack, name)) {
        await createMemoryFile(paths.memoryDir, path, bytes);
      } else {
        await createSparseFile(path, bytes);
        await onCreated(path);
      }
      this.#blank.add(name);
    }
  }

  /** Performs one action of a plan on a device. @throws StackError in the words of what failed */
  async perform({ kind, device, desired, signal }: PerformInput): Promise<void> {
    const name = device;
    const target = desired?.table.devices.find((entry) => entry.name === name);
    switch (kind) {
      case "stop":
        return this.#stop(name);
      case "pause":
        return this.#pause(name);
      case "adopt":
        await this.#adopt(name, signal);
        if (desired !== null && target !== undefined) await this.#settle(target, desired);
        return;
      case "adjust":
        return this.#adjust(name, wantedDevice(name, target));
      case "start":
      case "recreate":
      case "recover":
      case "reload":
        if (desired === null) throw unwanted(name);
        // A predecessor's worker may be left without supervisor; for a reload it is there by intent.
        await this.#pause(name);
        return this.#start(wantedDevice(name, target), desired, kind, signal);
    }
  }

  /** Removes what is left in the run folder of a stack that has gone. */
  async removeRunFolder(): Promise<void> {
    const { paths, stack } = this.#input;
    for (const folder of [stackRunDir(paths, stack), join(paths.memoryDir, stack)]) {
      await rm(folder, { recursive: true, force: true });
      await removeIfEmpty(dirname(folder));
    }
  }

  /**
   * Removes what a stack that is as desired has no use for: folders of servers that died and are no longer wanted, and
   * the memory of layers that are gone.
   */
  async tidy({ table, leafPaths }: Desired): Promise<void> {
    const { paths, stack } = this.#input;
    const wanted = new Set(table.devices.map((device) => device.name));
    for (const name of await namesIn(stackRunDir(paths, stack), "folders")) {
      const runDir = deviceRunDir(paths, stack, name);
      if (wanted.has(name) || (await this.#ownId(name)) !== null || (await isServed(runDir))) continue;
      const socket = (await configIfReadable(runDir))?.runtime.nbdSocket;
      if (socket !== undefined) await rm(socket, { force: true });
      await rm(runDir, { recursive: true, force: true });
    }
    const used = new Set(Object.values(leafPaths));
    const memory = dirname(memoryFile(paths, stack, ""));
    for (const name of await namesIn(memory, "files")) {
      if (name.endsWith(".mem") && !used.has(join(memory, name))) await rm(join(memory, name));
    }
  }

  async #adjust(name: string, target: Device): Promise<void> {
    const { paths, stack, channels, report } = this.#input;
    report({ device: name, layer: null, phase: "adjusting", message: `adjusting ${name}` });
    await adjustServer(target, deviceRunDir(paths, stack, name), channels);
    report({ device: name, layer: null, phase: "ready", message: `${name} has its new settings` });
  }

  async #start(
    device: Device,
    desired: Desired,
    kind: "start" | "recreate" | "recover" | "reload",
    signal: AbortSignal,
  ) {
    const { paths, stack, serverCommand, report, onServerEnd: onEnd } = this.#input;
    const runDir = deviceRunDir(paths, stack, device.name);
    const logFile = stackLog(paths, stack);
    await mkdir(runDir, { recursive: true, mode: 0o700 });
    const { baseDir, leafPaths, table } = desired;
    const first = !existsSync(configFile(runDir));
    const input = {
      paths,
      stack,
      baseDir,
      table,
      leafPaths,
      blank: [...this.#blank],
      ...(first ? FIRST_START : {}),
    };
    const config = serverConfig(device, input, await this.#idsOf(device.opens));
    await writeJson(configFile(runDir), config);
    const phase = kind === "recover" ? "recovering" : kind === "reload" ? "reloading" : "starting";
    const say = (message: string, layer?: string) =>
      report({ device: device.name, layer: layer ?? null, phase: "waiting", message });
    report({ device: device.name, layer: null, phase, message: `${phase} ${device.name}` });
    const place = { stack, device: device.name, runDir, logFile };
    await startServer(serverCommand, place, { say, signal, onEnd }).catch(async (error: unknown) => {
      // What a start that failed leaves would make the next one wait for a predecessor that never served.
      if (first) await rm(configFile(runDir), { force: true });
      throw await withHolder(error);
    });
    await this.#settle(device, desired);
    report({ device: device.name, layer: null, phase: "ready", message: `${device.name} is ready` });
  }

  /** What follows once a server is ready; idempotent, so that a new controller repeats it when it adopts. */
  async #settle(device: Device, desired: Desired): Promise<void> {
    const { paths, stack } = this.#input;
    const runDir = deviceRunDir(paths, stack, device.name);
    const config = await readConfig(runDir);
    // From now on the media hold data and there is a predecessor: a restarted server must know.
    if (config !== null && (config.runtime.blank.length > 0 || config.runtime.lockWaitMs !== undefined)) {
      const { lockWaitMs: _, ...runtime } = config.runtime;
      await writeJson(configFile(runDir), { ...config, runtime: { ...runtime, blank: [] } });
    }
    for (const layer of device.layers) this.#blank.delete(layer.name);
    if (device.frontend === "nbd") {
      const socket = config?.runtime.nbdSocket;
      if (socket !== undefined) await applyAccess(socket, device.access);
      return;
    }
    const id = await deviceId(runDir);
    if (id === null)
      throw new StackError("internal", `the server of "${device.name}" wrote no device number`);
    await applyAccess(`/dev/ublkb${id}`, device.access);
    if (paths.linkDir === null) return;
    for (const name of exportNames(device)) {
      await placeLink(linkPath(paths.linkDir, stack, name), `/dev/ublkb${id}`);
    }
    await pruneLinks(linkPath(paths.linkDir, stack, ""), desired.table.devices.flatMap(exportNames));
  }

  async #idsOf(devices: readonly string[]): Promise<Map<string, number>> {
    const { paths, stack } = this.#input;
    const ids = new Map<string, number>();
    for (const name of devices) {
      const id = await deviceId(deviceRunDir(paths, stack, name));
      if (id !== null) ids.set(name, id);
    }
    return ids;
  }

  async #pause(device: string): Promise<void> {
    const { paths, stack, report } = this.#input;
    const runDir = deviceRunDir(paths, stack, device);
    await stopServer(runDir, (message) => report({ device, layer: null, phase: "waiting", message }));
  }

  async #stop(device: string): Promise<void> {
    const { paths, stack, driver, report } = this.#input;
    const runDir = deviceRunDir(paths, stack, device);
    report({ device, layer: null, phase: "stopping", message: `stopping ${device}` });
    const config = await configIfReadable(runDir);
    const id = await this.#ownId(device);
    if (id !== null) await driver.stop(id, DRIVER_MS);
    await this.#pause(device);
    if (id !== null) await driver.remove(id, DRIVER_MS);
    if (paths.linkDir !== null && config !== null) {
      for (const name of exportNames(config.table)) await removeLink(linkPath(paths.linkDir, stack, name));
    }
    const socket = config?.runtime.nbdSocket;
    if (socket !== undefined) await rm(socket, { force: true });
    await rm(runDir, { recursive: true, force: true });
    report({ device, layer: null, phase: "stopped", message: `${device} is gone` });
  }

  /** The device that carries our tag: the number in a file alone may by now belong to somebody else. */
  async #ownId(device: string): Promise<number | null> {
    const { paths, stack, driver } = this.#input;
    const tag = ownerTag(paths.stateDir, stack, device);
    return (await driver.list()).find((entry) => entry.tag === tag)?.id ?? null;
  }

  /** Waits until a server that runs, or is being replaced by its supervisor, is ready. */
  async #adopt(name: string, signal: AbortSignal): Promise<void> {
    const { paths, stack, channels, report } = this.#input;
    const runDir = deviceRunDir(paths, stack, name);
    const changes = new FolderChanges(runDir);
    const end = performance.now() + ADOPT_MS;
    try {
      for (let told = false; ; told = true) {
        if ((await channels.report(runDir))?.phase === "ready") return;
        if ((await processOf(`${runDir}/supervisor.pid`, configFile(runDir))) === null) {
          throw new StackError("server-died", `the server of "${name}" ended while it was waited for`);
        }
        if (performance.now() > end || signal.aborted) {
          throw new StackError(
            "timeout",
            `waited ${ADOPT_MS / 1000} s for the server of "${name}" to be ready`,
          );
        }
        if (!told) {
          report({
            device: name,
            layer: null,
            phase: "waiting",
            message: `waiting for the server of ${name}`,
          });
        }
        await changes.next(LOOK_MS);
      }
    } finally {
      changes.close();
    }
  }
}

const exportNames = (device: Device): string[] => device.exports.flatMap((entry) => entry.name ?? []);

async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTEMPTY") throw error;
  }
}

async function namesIn(folder: string, which: "files" | "folders"): Promise<string[]> {
  if (!existsSync(folder)) return [];
  const entries = await readdir(folder, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() === (which === "folders") ? [entry.name] : []));
}

async function isServed(runDir: string): Promise<boolean> {
  const config = configFile(runDir);
  const supervisor = await processOf(join(runDir, "supervisor.pid"), config);
  return supervisor !== null || (await processOf(join(runDir, "server.pid"), config)) !== null;
}

/** What stands in the way of reading it does not stand in the way of stopping its server. */
async function configIfReadable(runDir: string): Promise<ServerConfig | null> {
  try {
    return await readConfig(runDir);
  } catch (error) {
    if (error instanceof StackError && error.code === "state-corrupt") return null;
    throw error;
  }
}
