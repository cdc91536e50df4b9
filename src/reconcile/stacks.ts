/**
 * All stacks of one controller: what is desired is stored, and a runner for each makes it so.
 *
 * What is stored is what whoever comes after a crash goes on with. A first apply that fails takes back what it made;
 * a later one that fails goes back to what was there before.
 */

import { setTimeout as delay } from "node:timers/promises";
import type { Host } from "../compile/media.js";
import { StackError } from "../errors.js";
import { hasChanges, type Plan, type PlanOptions, plan } from "../plan/plan.js";
import type { ApplyRequest, ChangeEvent, Description, DiffReply, DiffRequest, DoneEvent } from "./api.js";
import { Channels } from "./channels.js";
import type { Compaction, CompactionBegun } from "./compaction-schema.js";
import { beginCompaction, lookAtCompaction, stopCompaction } from "./compactions.js";
import type { Driver } from "./driver.js";
import { KeyedQueue } from "./keyed-queue.js";
import type { Logbook } from "./logbook.js";
import type { Report, Target } from "./machines/contract.js";
import { observe, type StackView } from "./observe.js";
import { ensurePrivateFolder, logsDir, type Paths, stackStateDir, stacksDir } from "./paths.js";
import { type Prepared, prepare, specOf } from "./prepare.js";
import { readdDropped } from "./readd.js";
import { rollBack } from "./rollback.js";
import type { SnapshotList, SnapshotReply, SnapshotRequest } from "./snapshot-schema.js";
import { changeSnapshots, listSnapshots } from "./snapshots.js";
import { StackEntry } from "./stack-entry.js";
import { blockedError, type StackRunner } from "./stack-runner.js";
import type { StatusItem, StatusList } from "./status-schema.js";
import { StackStore, type StoredStack } from "./store.js";

/** How long a stack may take to become ready, or to go, if nobody says otherwise. */
const DEFAULT_TIMEOUT_MS = 120_000;
/** How long a change of snapshots may take, if nobody says otherwise. */
const SNAPSHOT_TIMEOUT_MS = 60_000;
/** A client that has just gone is counted for a moment longer. */
const LEAVING_MS = 1_000;

export type Emit = (event: ChangeEvent) => void;

export interface StacksInput {
  readonly paths: Paths;
  readonly driver: Driver;
  readonly serverCommand: readonly string[];
  readonly logbook: Logbook;
  /** CPUs that may run queue threads. */
  readonly cpus: number;
  /** Called whenever a stack came or went. */
  readonly onCount: () => void;
}

export class Stacks {
  readonly #input: StacksInput;
  readonly #store: StackStore;
  readonly #entries = new Map<string, StackEntry>();
  /** Clean-ups of stacks that have gone. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #perStack = new KeyedQueue();
  /** From the look at the media to the store: what one apply claims, the next must see. */
  readonly #claiming = new KeyedQueue();

  constructor(input: StacksInput) {
    this.#input = input;
    this.#store = new StackStore(input.paths);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Waits until no change is under way. */
  async idle(): Promise<void> {
    await this.#perStack.idle();
    await Promise.all(this.#leaving.values());
  }

  /** @throws StackError stack-unknown */
  runnerOf(name: string): StackRunner {
    return this.#entry(name).runner;
  }

  /** Takes up every stack that is stored: finds its servers, or starts them. */
  async load(): Promise<void> {
    ensurePrivateFolder(stacksDir(this.#input.paths));
    ensurePrivateFolder(logsDir(this.#input.paths));
    for (const found of await this.#store.list()) {
      if ("error" in found) {
        // Only a delete starts its runner: what should run is not known.
        this.#input.logbook.controller.error({ stack: found.name }, found.error.message);
        this.#enter(found.name, found.error, GO);
      } else {
        this.#enter(
          found.name,
          found.stack,
          found.stack.deleting ? GO : targetOf(found.stack),
        ).runner.start();
      }
    }
  }

  async list(): Promise<StatusList> {
    const names = [...this.#entries.keys()].sort();
    const items = await Promise.all(names.map((name) => this.#entries.get(name)?.status() ?? null));
    return { apiVersion: "ublk-stack/v1", kind: "List", items: items.filter((item) => item !== null) };
  }

  /** @throws StackError stack-unknown */
  get(name: string): Promise<StatusItem> {
    return this.#entry(name).status();
  }

  /** @throws StackError stack-unknown, state-corrupt */
  describe(name: string): Description {
    const { stored } = this.#entry(name);
    if (stored === null)
      throw new StackError("state-corrupt", this.#entry(name).trouble() ?? `stack "${name}"`);
    const { document, baseDir, table } = stored;
    return { name, document, baseDir, table };
  }

  async diff(request: DiffRequest): Promise<DiffReply> {
    const prepared = await this.#prepare(request);
    const { plan: made } = await this.#plan(prepared, {});
    return { plan: made, table: prepared.stored.table, findings: prepared.findings };
  }

  /** @throws StackError for every reason why the stack is not as the document says, in the end */
  apply(request: ApplyRequest, emit: Emit): Promise<DoneEvent> {
    const { name } = specOf(request.document).spec;
    return this.#perStack.run(name, async () => {
      await this.#leaving.get(name);
      const begun = await this.#claiming.run("media", () => this.#begin(name, request, emit));
      if ("event" in begun) return begun;
      return this.#finish(begun, request, emit);
    });
  }

  /** Everything up to the point of no return: checks, the plan, and what is stored. */
  async #begin(name: string, request: ApplyRequest, emit: Emit): Promise<Begun | DoneEvent> {
    const options: PlanOptions = {
      force: request.force === true,
      allowDataLoss: request.allowDataLoss === true,
    };
    const prepared = await this.#prepare(request);
    for (const finding of prepared.findings) emit({ event: "finding", finding });
    const { plan: made, view } = await this.#plan(prepared, options);
    emit({ event: "plan", plan: made, table: prepared.stored.table });
    if (made.blocked.length > 0) throw planBlocked(name, made, view);
    const entry = this.#entries.get(name);
    if (request.dryRun === true) return done("planned", entry === undefined ? null : await entry.status());

    if (entry === undefined) return this.#found(prepared, options);
    const previous = entry.stored;
    if (previous === null) throw new StackError("state-corrupt", entry.trouble() ?? "", { stack: name });
    const changes = hasChanges(made);
    const { runner } = entry;
    if (changes || entry.isGoing || runner.state === "troubled" || runner.state === "blocked") {
      await entry.update(({ applied, createdFiles }) => ({ ...prepared.stored, applied, createdFiles }));
      entry.createdNow.clear();
      runner.aim({ desired: prepared.desired, options });
      return { entry, previous, changes };
    }
    await entry.update((stored) => {
      const { applied, createdFiles } = stored;
      const next = { ...prepared.stored, applied, createdFiles };
      return JSON.stringify(next) === JSON.stringify(stored) ? stored : next;
    });
    return { entry, previous, changes };
  }

  /** A new stack: from here on it exists. */
  async #found({ stored, desired }: Prepared, options: PlanOptions): Promise<Begun> {
    ensurePrivateFolder(stackStateDir(this.#input.paths, stored.name));
    try {
      await this.#store.write(stored);
    } catch (error) {
      await this.#store.remove(stored.name);
      throw error;
    }
    const entry = this.#enter(stored.name, stored, { desired, options });
    entry.runner.start();
    return { entry, previous: null, changes: true };
  }

  async #finish({ entry, previous, changes }: Begun, request: ApplyRequest, emit: Emit): Promise<DoneEvent> {
    const { runner } = entry;
    const report = (event: Report) => emit({ event: "progress", ...event });
    runner.on("report", report);
    try {
      if (request.wait === false) return done("accepted", await entry.status());
      await runner.rested(AbortSignal.timeout(request.timeoutMs ?? DEFAULT_TIMEOUT_MS));
      await entry.written();
      const added = request.readd === true ? await readdDropped(entry) : 0;
      const result = previous === null ? "created" : changes || added > 0 ? "configured" : "unchanged";
      return done(result, await entry.status());
    } catch (error) {
      // Who ran out of patience did not see it fail, and the controller goes on; nor is a refused readd a failed change.
      if (runner.state === "working" || runner.state === "settled") throw error;
      const failure = await rollBack(entry, previous === null ? null : targetOf(previous), previous, error);
      await this.#leaving.get(entry.name);
      throw failure;
    } finally {
      runner.off("report", report);
    }
  }

  /** @throws StackError stack-unknown, device-in-use, timeout */
  delete(
    name: string,
    { force, timeoutMs }: { force: boolean; timeoutMs?: number },
    emit: Emit,
  ): Promise<DoneEvent> {
    return this.#perStack.run(name, async () => {
      await this.#leaving.get(name);
      const entry = this.#entry(name);
      const { runner } = entry;
      const report = (event: Report) => emit({ event: "progress", ...event });
      runner.on("report", report);
      try {
        const { plan: made, view } = await this.#planPatiently(
          () => runner.view(GO, true),
          (seen) => plan(null, seen.observed, { force }),
        );
        emit({ event: "plan", plan: made, table: null });
        if (made.blocked.length > 0) throw planBlocked(name, made, view);
        const { target } = runner.context;
        await entry.update((stored) => ({ ...stored, deleting: true }));
        if (entry.stored === null) runner.start();
        runner.aim({ desired: null, options: { force } });
        try {
          await runner.rested(AbortSignal.timeout(timeoutMs ?? DEFAULT_TIMEOUT_MS));
        } catch (error) {
          if (runner.state !== "blocked") throw error;
          // Somebody opened it after the look: it stays, and does not go by itself once they leave.
          await entry.update((stored) => ({ ...stored, deleting: false }));
          runner.aim(target);
          throw error;
        }
        await this.#leaving.get(name);
        return done("deleted", null);
      } finally {
        runner.off("report", report);
      }
    });
  }

  /** @throws StackError stack-unknown, and listSnapshots()'s */
  snapshots(name: string, layer: string): Promise<SnapshotList> {
    return listSnapshots(this.#entry(name), layer);
  }

  /** Between changes of the stack. @throws StackError stack-unknown, and changeSnapshots()'s */
  changeSnapshots(name: string, layer: string, request: SnapshotRequest): Promise<SnapshotReply> {
    const end = performance.now() + (request.timeoutMs ?? SNAPSHOT_TIMEOUT_MS);
    return this.#perStack.run(name, () => changeSnapshots(this.#entry(name), layer, request, end));
  }

  /** @throws StackError stack-unknown, and beginCompaction()'s */
  async beginCompaction(name: string, layer: string): Promise<CompactionBegun> {
    return beginCompaction(this.#entry(name), layer);
  }
  async compaction(name: string, layer: string, number: number): Promise<Compaction> {
    return lookAtCompaction(this.#entry(name), layer, number);
  }
  async stopCompaction(name: string, layer: string, number: number): Promise<object> {
    return stopCompaction(this.#entry(name), layer, number);
  }

  /** Waits until no change is under way, then stops watching; servers go on. */
  async close(): Promise<void> {
    await this.idle();
    for (const entry of this.#entries.values()) {
      entry.runner.stop();
      await entry.written();
    }
    this.#entries.clear();
  }

  /**
   * Plans with a thorough look at who uses what. Who is just leaving is waited for: clients that closed are counted a
   * moment longer, and udev opens what is new.
   */
  async #planPatiently(
    look: () => Promise<StackView>,
    make: (view: StackView) => Plan,
  ): Promise<{ plan: Plan; view: StackView }> {
    const end = performance.now() + LEAVING_MS;
    for (;;) {
      const view = await look();
      const made = make(view);
      const isUsed = made.blocked.some((entry) => entry.code === "device-in-use");
      if (!isUsed || performance.now() > end) return { plan: made, view };
      await delay(LEAVING_MS / 10);
    }
  }

  async #prepare(request: DiffRequest): Promise<Prepared> {
    const { paths, driver, cpus } = this.#input;
    const host: Host = { ublk: await driver.available(), cpus };
    const stacks = [...this.#entries.values()].flatMap((entry) => entry.stored ?? []);
    return prepare(request, { paths, host, stacks });
  }

  #plan({ desired, stored }: Prepared, options: PlanOptions): Promise<{ plan: Plan; view: StackView }> {
    return this.#planPatiently(
      () => this.#look(stored, { desired, options }),
      (view) => plan(desired.table, view.observed, { ...options, paths: desired.leafPaths }),
    );
  }

  /** A stack without an entry may have left something all the same. */
  async #look(stored: StoredStack, target: Target): Promise<StackView> {
    const entry = this.#entries.get(stored.name);
    if (entry !== undefined) return entry.runner.view(target, true);
    const { paths, driver } = this.#input;
    const channels = new Channels();
    const { name: stack, applied: lastApplied } = stored;
    try {
      return await observe({
        paths,
        stack,
        desired: target.desired,
        lastApplied,
        driver,
        channels,
        adopted: new Set(),
      });
    } finally {
      channels.closeAll();
    }
  }

  #entry(name: string): StackEntry {
    const entry = this.#entries.get(name);
    if (entry === undefined)
      throw new StackError("stack-unknown", `there is no stack "${name}"`, { stack: name });
    return entry;
  }

  #enter(name: string, found: StoredStack | StackError, target: Target): StackEntry {
    const { paths, driver, serverCommand, logbook, onCount } = this.#input;
    const onGone = () => this.#leaving.set(name, this.#leave(name));
    const log = logbook.of(name);
    const input = { name, paths, store: this.#store, driver, serverCommand, log, found, target, onGone };
    const entry = new StackEntry(input);
    this.#entries.set(name, entry);
    onCount();
    return entry;
  }

  /** Nothing of the stack runs any more: forget it. */
  async #leave(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (entry === undefined) return;
    try {
      await entry.written();
      entry.runner.stop();
      await entry.runner.removeRunFolder();
      await this.#store.remove(name);
      this.#input.logbook.of(name).info("deleted; data files stay");
    } catch (error) {
      this.#input.logbook.of(name).error({ err: error }, "what is left of the stack cannot be removed");
    } finally {
      this.#entries.delete(name);
      this.#leaving.delete(name);
      this.#input.logbook.close(name);
      this.#input.onCount();
    }
  }
}

interface Begun {
  readonly entry: StackEntry;
  /** What was desired before; null for a new stack. */
  readonly previous: StoredStack | null;
  /** Whether anything is to be done. */
  readonly changes: boolean;
}

const GO: Target = { desired: null, options: {} };

function targetOf({ table, baseDir, paths }: StoredStack): Target {
  return { desired: { table, baseDir, leafPaths: paths }, options: {} };
}

const done = (result: DoneEvent["result"], item: StatusItem | null): DoneEvent => ({
  event: "done",
  result,
  item,
});

function planBlocked(name: string, made: Plan, view: StackView): StackError {
  const usersOf = (device: string) => view.devices.get(device)?.users ?? [];
  const { code, message, details } = blockedError(name, made.blocked, usersOf);
  return new StackError(code, message, { ...details, plan: made });
}
