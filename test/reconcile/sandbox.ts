/** A place of its own for every test: folders, a controller with the fake server, and stacks in short words. */

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { ChangeEvent, DoneEvent } from "../../src/reconcile/api.js";
import { ControllerClient } from "../../src/reconcile/client.js";
import { Controller } from "../../src/reconcile/controller.js";
import { type Driver, NO_DRIVER } from "../../src/reconcile/driver.js";
import { controllerSocket, type Paths, resolvePaths, stackRunDir } from "../../src/reconcile/paths.js";
import { processOf, signalProcess, waitForEnd } from "../../src/reconcile/processes.js";
import type { StackDocument } from "../../src/spec/index.js";

export const FAKE_SERVER = [process.execPath, join(import.meta.dirname, "fake-server.mjs")];

export class Sandbox {
  readonly root = mkdtempSync(join(tmpdir(), "us-"));
  readonly data = join(this.root, "data");
  readonly paths: Paths;
  #controller: Controller | null = null;

  constructor() {
    mkdirSync(this.data);
    const env = {
      UBLK_STACK_STATE_DIR: join(this.root, "state"),
      UBLK_STACK_RUN_DIR: join(this.root, "run"),
    };
    this.paths = resolvePaths({ env, uid: process.getuid?.() ?? 0 });
    onTestFinished(() => this.#cleanUp());
  }

  async controller(
    options: { stay?: boolean; lingerMs?: number; driver?: Driver; serverCommand?: readonly string[] } = {},
  ): Promise<ControllerClient> {
    this.#controller = await Controller.start({
      paths: { ...this.paths, linkDir: null },
      driver: options.driver ?? NO_DRIVER,
      serverCommand: options.serverCommand ?? FAKE_SERVER,
      stay: options.stay ?? true,
      build: "test",
      ...(options.lingerMs === undefined ? {} : { lingerMs: options.lingerMs }),
    });
    return new ControllerClient(controllerSocket(this.paths));
  }

  /** What SIGKILL leaves behind, as far as the same process can play it: nothing is taken down. */
  async dropController(): Promise<void> {
    await this.#controller?.close();
    this.#controller = null;
  }

  get running(): Controller | null {
    return this.#controller;
  }

  runDir(stack: string, device = "@nbd"): string {
    return join(stackRunDir(this.paths, stack), device);
  }

  async pids(stack: string, device = "@nbd"): Promise<{ supervisor: number | null; server: number | null }> {
    const dir = this.runDir(stack, device);
    return {
      supervisor: await processOf(join(dir, "supervisor.pid"), join(dir, "config.json")),
      server: await processOf(join(dir, "server.pid"), join(dir, "config.json")),
    };
  }

  async kill(pid: number | null, stack: string, device = "@nbd"): Promise<void> {
    if (pid === null) throw new Error("nothing to kill");
    signalProcess(pid, "SIGKILL");
    if (!(await waitForEnd(pid, join(this.runDir(stack, device), "config.json"), 5_000)))
      throw new Error("immortal");
  }

  /** All processes and everything in memory are gone. */
  async powerCut(): Promise<void> {
    await this.#killAll();
    rmSync(this.paths.runDir, { recursive: true, force: true });
    rmSync(this.paths.memoryDir, { recursive: true, force: true });
  }

  removeData(name: string): void {
    rmSync(join(this.data, name));
  }

  async #cleanUp(): Promise<void> {
    await this.dropController();
    await this.#killAll();
    rmSync(this.root, { recursive: true, force: true });
    rmSync(this.paths.memoryDir, { recursive: true, force: true });
  }

  async #killAll(): Promise<void> {
    const stacks = join(this.paths.runDir, "stacks");
    for (const stack of list(stacks)) {
      for (const device of list(join(stacks, stack))) {
        if (!statSync(join(stacks, stack, device)).isDirectory()) continue;
        const { supervisor, server } = await this.pids(stack, device);
        for (const pid of [supervisor, server]) if (pid !== null) await this.kill(pid, stack, device);
      }
    }
  }
}

/** Names in a folder; none when it is not there. */
export function list(folder: string): string[] {
  return existsSync(folder) && statSync(folder).isDirectory() ? readdirSync(folder).sort() : [];
}

/** A stack of given layers; each export is named like the layer that it shows. */
export function stack(
  name: string,
  layers: Record<string, unknown>,
  exports: readonly string[],
): StackDocument {
  return {
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name },
    spec: { layers, exports: Object.fromEntries(exports.map((layer) => [layer, { layer }])) },
  } as StackDocument;
}

/** The events of a change, the last of which is its end. */
export async function finish(
  events: AsyncGenerator<ChangeEvent, void, void>,
): Promise<{ events: ChangeEvent[]; done: DoneEvent }> {
  const all: ChangeEvent[] = [];
  for await (const event of events) all.push(event);
  const done = all.at(-1);
  if (done?.event !== "done") throw new Error("a change ends with done");
  return { events: all, done };
}
