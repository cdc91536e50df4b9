/**
 * A world for the machines: devices, servers and files in memory, with faults by seed. It insists on what must hold
 * whatever happens, and throws `Violation` the moment it does not.
 */

import type { Device, Table } from "../../src/compile/table.js";
import { StackError } from "../../src/errors.js";
import { leavesOf } from "../../src/plan/content.js";
import type { Observed, ObservedDevice } from "../../src/plan/observed.js";
import type { PerformInput, Target, World } from "../../src/reconcile/machines/contract.js";

export class Violation extends Error {}

/** What goes wrong with one call. late: the effect happens, and then it fails; hangs: it never answers. */
export type Fault = "none" | "early" | "late" | "hangs" | "dies";

interface SimulatedDevice {
  phase: ObservedDevice["phase"];
  table: Device;
  server: ObservedDevice["server"];
  id: number | null;
}

export class SimulatedWorld implements World {
  readonly devices = new Map<string, SimulatedDevice>();
  readonly files = new Set<string>();
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #adopted = new Set<string>();
  readonly #performing = new Set<string>();
  readonly #faults: Fault[];
  #nextId = 0;
  /** Set by whoever sees that the stack is settled. */
  lastApplied: Table | null = null;
  violation: Violation | null = null;

  /** @param faults one for each call from the first on; none after the last */
  constructor(faults: readonly Fault[] = []) {
    this.#faults = [...faults];
  }

  calm(): void {
    this.#faults.length = 0;
  }

  async observe({ desired }: Target): Promise<Observed> {
    await this.#fault("a look");
    const leaves = new Map(
      desired?.table.devices.flatMap((device) =>
        leavesOf(device).map(
          ({ layer, place }) => [layer, this.files.has(place) ? "present" : "missing"] as const,
        ),
      ),
    );
    return {
      devices: [...this.devices].map(([name, { phase, table, server, id }]) => {
        return { name, phase, table, server, inUse: false, id, adopted: this.#adopted.has(name) };
      }),
      leaves,
      lastApplied: this.lastApplied,
      notCurrent: new Map(),
    };
  }

  async createFiles(layers: readonly string[], { desired }: Target): Promise<void> {
    const dies = await this.#fault("files");
    for (const device of desired?.table.devices ?? []) {
      for (const leaf of leavesOf(device)) if (layers.includes(leaf.layer)) this.files.add(leaf.place);
    }
    if (dies !== "none") throw new StackError("no-space", "made files, and failed");
  }

  async perform(input: PerformInput): Promise<void> {
    const { device, kind, signal } = input;
    this.#insist(!this.#performing.has(device), `two actions at once on "${device}"`);
    this.#performing.add(device);
    signal.addEventListener("abort", () => this.#performing.delete(device), { once: true });
    this.#adopted.delete(device);
    try {
      const fault = await this.#fault(`${kind} ${device}`);
      if (signal.aborted) return;
      this.#effect(input);
      if (fault === "late") throw new StackError("server-start", `${kind} ${device} failed after all`);
      if (kind !== "stop" && kind !== "pause") this.#adopted.add(device);
      if (fault === "dies") this.kill(device);
    } finally {
      if (!signal.aborted) this.#performing.delete(device);
    }
  }

  watch(device: string, lost: () => void): () => void {
    const watchers = this.#watchers.get(device) ?? new Set();
    this.#watchers.set(device, watchers);
    watchers.add(lost);
    if (this.devices.get(device)?.server !== "running") queueMicrotask(() => this.#tell(device));
    return () => watchers.delete(lost);
  }

  /** A server ends by itself, with or without the supervisor that would replace it. */
  kill(name: string): void {
    const device = this.devices.get(name);
    if (device === undefined || device.server !== "running") return;
    this.devices.set(name, {
      ...device,
      server: "dead",
      phase: device.table.frontend === "nbd" ? "absent" : "quiesced",
    });
    this.#tell(name);
  }

  /** Everything but files is gone. */
  reboot(): void {
    this.devices.clear();
    this.#adopted.clear();
  }

  /** Another controller: nothing is watched any more, nothing is under way. */
  forgetController(): void {
    this.#watchers.clear();
    this.#adopted.clear();
    this.#performing.clear();
  }

  #tell(device: string): void {
    this.#adopted.delete(device);
    for (const lost of [...(this.#watchers.get(device) ?? [])]) lost();
  }

  #effect({ kind, device: name, desired }: PerformInput): void {
    const now = this.devices.get(name);
    if (kind === "stop" || kind === "pause") {
      const above = [...this.devices].filter(
        ([, other]) => other.server === "running" && other.table.opens.includes(name),
      );
      // A reloaded parent may hold its child across a pause of the child; a stop takes the disk from under it.
      this.#insist(
        kind === "pause" || above.length === 0,
        `"${name}" goes while "${above[0]?.[0]}" has it open`,
      );
      if (kind === "stop") this.devices.delete(name);
      else if (now !== undefined) this.devices.set(name, { ...now, server: "absent", phase: "quiesced" });
      return;
    }
    if (kind === "adopt") {
      if (now?.server !== "running")
        throw new StackError("server-died", `"${name}" died while it was waited for`);
      this.devices.set(name, { ...now, phase: "live" });
      return;
    }
    const table = desired?.table.devices.find((entry) => entry.name === name);
    this.#insist(table !== undefined, `"${name}" comes up, and nobody wants it`);
    if (table === undefined) return;
    for (const below of table.opens) {
      if (this.devices.get(below)?.phase !== "live") {
        throw new StackError("server-start", `"${below}" below "${name}" is not live`);
      }
    }
    for (const leaf of leavesOf(table)) {
      if (leaf.creatable && !this.files.has(leaf.place)) {
        throw new StackError("server-start", `"${name}" misses "${leaf.place}"`);
      }
    }
    const id = table.frontend === "nbd" ? null : (now?.id ?? this.#nextId++);
    this.devices.set(name, { phase: "live", table, server: "running", id });
  }

  async #fault(what: string): Promise<Fault> {
    await Promise.resolve();
    const fault = this.#faults.shift() ?? "none";
    if (fault === "early") throw new StackError("server-start", `${what} failed`);
    if (fault === "hangs") await new Promise(() => undefined);
    return fault;
  }

  #insist(holds: boolean, words: string): void {
    if (holds) return;
    this.violation ??= new Violation(words);
    throw this.violation;
  }
}
