/** One stack of a controller: what is stored about it, and the runner that makes it so. */

import { StackError } from "../errors.js";
import type { Driver } from "./driver.js";
import type { Logger } from "./logbook.js";
import type { Report, Target } from "./machines/contract.js";
import type { StackView } from "./observe.js";
import type { Paths } from "./paths.js";
import { StackRunner } from "./stack-runner.js";
import { statusItem, unreadableItem } from "./status.js";
import type { StatusItem } from "./status-schema.js";
import type { StackStore, StoredStack } from "./store.js";

export interface EntryInput {
  readonly name: string;
  readonly paths: Paths;
  readonly store: StackStore;
  readonly driver: Driver;
  readonly serverCommand: readonly string[];
  readonly log: Logger;
  /** What is stored, or why it cannot be read. */
  readonly found: StoredStack | StackError;
  readonly target: Target;
  /** Called once, when nothing is left of the stack. */
  readonly onGone: () => void;
}

const LEVELS: Readonly<Record<Report["phase"], "info" | "error">> = {
  creating: "info",
  waiting: "info",
  starting: "info",
  recovering: "info",
  adjusting: "info",
  reloading: "info",
  stopping: "info",
  ready: "info",
  stopped: "info",
  failed: "error",
};

export class StackEntry {
  readonly name: string;
  readonly runner: StackRunner;
  readonly #input: EntryInput;
  #stored: StoredStack | null;
  #writes: Promise<void> = Promise.resolve();
  /** Files made since somebody began to count: what a failed change takes back. */
  readonly createdNow = new Set<string>();

  constructor(input: EntryInput) {
    this.#input = input;
    this.name = input.name;
    this.#stored = input.found instanceof StackError ? null : input.found;
    const { paths, name: stack, serverCommand, driver, store, log } = input;
    const onCreated = async (path: string) => {
      this.createdNow.add(path);
      await this.update((stored) => ({
        ...stored,
        createdFiles: [...new Set([...stored.createdFiles, path])],
      }));
    };
    this.runner = new StackRunner({ paths, stack, serverCommand, driver, store, onCreated }, input.target);
    this.runner.on("report", ({ device, layer, phase, message }) => {
      log[LEVELS[phase]](
        { ...(device === null ? {} : { device }), ...(layer === null ? {} : { layer }), phase },
        message,
      );
    });
    this.runner.on("state", (state) => {
      if (state === "settled") this.#settle();
      if (state === "troubled" || state === "blocked") log.error({ state }, this.trouble() ?? state);
      if (state === "gone") input.onGone();
    });
  }

  /** null when the state file cannot be read. */
  get stored(): StoredStack | null {
    return this.#stored;
  }

  /** Whether a delete has begun. */
  get isGoing(): boolean {
    return this.runner.context.target.desired === null;
  }

  /** Why the stack is not as it should be; null when it is, or is getting there. */
  trouble(): string | null {
    if (this.#input.found instanceof StackError && this.#stored === null) return this.#input.found.message;
    const { trouble, plan, attempts } = this.runner.context;
    if (this.runner.state === "blocked")
      return plan?.blocked.map((entry) => entry.message).join("; ") ?? null;
    return this.runner.state === "troubled" || attempts > 0 ? (trouble?.message ?? null) : null;
  }

  /** Replaces what is stored, durably, after all earlier updates. */
  update(change: (stored: StoredStack) => StoredStack): Promise<void> {
    const write = async () => {
      if (this.#stored === null) return;
      const next = change(this.#stored);
      if (next === this.#stored) return;
      await this.#input.store.write(next);
      this.#stored = next;
    };
    // An update that failed was told to whoever asked for it; the next one does not depend on it.
    this.#writes = this.#writes.then(write, write);
    return this.#writes;
  }

  /** Waits for updates under way. @throws StackError when one could not be written */
  written(): Promise<void> {
    return this.#writes;
  }

  async status(): Promise<StatusItem> {
    const { paths } = this.#input;
    if (this.#stored === null)
      return unreadableItem(this.name, paths, this.trouble() ?? "its state cannot be read");
    const view = await this.runner.view({ ...this.runner.context.target, desired: null });
    return this.statusOf(view, this.#stored);
  }

  statusOf(view: StackView, stored: StoredStack): StatusItem {
    return statusItem({
      stored,
      paths: this.#input.paths,
      view,
      state: this.runner.state,
      trouble: this.trouble(),
      deleting: this.isGoing,
      restartsOf: (device) => this.runner.restartsOf(device),
      activityOf: (device) => this.runner.activityOf(device),
    });
  }

  /** The stack is ready: from now on its data files hold what this table put there. */
  #settle(): void {
    const { desired } = this.runner.context.target;
    if (desired === null) return;
    const { table } = desired;
    this.update((stored) =>
      JSON.stringify(stored.applied) === JSON.stringify(table) ? stored : { ...stored, applied: table },
    ).catch((error: unknown) => this.#input.log.error({ err: error }, "what was applied cannot be recorded"));
    this.runner
      .tidy()
      .catch((error: unknown) => this.#input.log.error({ err: error }, "leftovers cannot be removed"));
  }
}
