/** The stack's machine in a simulated world: whatever happens on the way, it arrives, and breaks nothing. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Actor, createActor, SimulatedClock } from "xstate";
import type { Table } from "../../src/compile/table.js";
import { leavesOf } from "../../src/plan/content.js";
import { PATIENCE, type Target } from "../../src/reconcile/machines/contract.js";
import { stackMachine } from "../../src/reconcile/machines/stack.machine.js";
import { arbitraryTable, arbitraryVariants } from "../compile/arbitrary.js";
import { type Fault, SimulatedWorld } from "./simulated-world.js";

/** Data may go and devices may be taken away: what is tested is the way there, not the asking. */
const targetOf = (table: Table | null): Target => ({
  desired: table === null ? null : { table, baseDir: "/", leafPaths: {} },
  options: { force: true, allowDataLoss: true },
});

class Simulation {
  readonly world: SimulatedWorld;
  readonly clock = new SimulatedClock();
  #target: Target;
  #actor: Actor<typeof stackMachine> | null = null;
  readonly everMade = new Set<string>();
  /** How often it was in trouble. */
  troubles = 0;

  constructor(table: Table | null, faults: readonly Fault[] = []) {
    this.world = new SimulatedWorld(faults);
    this.#target = targetOf(table);
    this.start();
  }

  get state(): string {
    return String(this.#actor?.getSnapshot().value);
  }

  get context() {
    return this.#actor?.getSnapshot().context;
  }

  start(): void {
    const input = { stack: "s", world: this.world, patience: PATIENCE, target: this.#target };
    this.#actor = createActor(stackMachine, { input, clock: this.clock });
    this.#actor.subscribe(({ value }) => {
      if (value === "troubled") this.troubles += 1;
    });
    this.#actor.start();
  }

  /** As SIGKILL does: whatever was under way has happened or not, and nobody will know. */
  restartController(): void {
    this.#actor?.stop();
    this.world.forgetController();
    this.start();
  }

  aim(table: Table | null): void {
    this.#target = targetOf(table);
    if (this.state === "gone") this.start();
    else this.#actor?.send({ type: "TARGET", target: this.#target });
  }

  /** Lets everything happen that does not wait for time. */
  async breathe(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    for (const file of this.world.files) this.everMade.add(file);
    if (this.world.violation !== null) throw this.world.violation;
  }

  pass(milliseconds: number): void {
    this.clock.increment(milliseconds);
  }

  /** @returns the state in which it comes to rest; time passes as needed */
  async rest(): Promise<string> {
    for (let round = 0; round < 60; round++) {
      await this.breathe();
      if (this.state === "settled" || this.state === "gone") return this.state;
      this.pass(PATIENCE.performMs);
    }
    throw new Error(
      `no rest: ${this.state} ${JSON.stringify(this.context?.trouble)} ${JSON.stringify(this.context?.plan)}`,
    );
  }
}

function expectRunning({ world }: Simulation, table: Table | null): void {
  const wanted = table?.devices ?? [];
  // Of a dead NBD server a folder may be left, which is tidied up outside of the machine.
  const there = [...world.devices].filter(
    ([, { phase, server }]) => phase !== "absent" || server === "running",
  );
  expect(there.map(([name]) => name).sort()).toEqual(wanted.map((device) => device.name).sort());
  for (const device of wanted) {
    expect(world.devices.get(device.name)).toMatchObject({ phase: "live", server: "running", table: device });
  }
}

type Step =
  | { do: "aim"; variant: 0 | 1 | null }
  | { do: "kill"; nth: number }
  | { do: "reboot" }
  | { do: "restart" }
  | { do: "breathe" }
  | { do: "pass"; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("aim" as const), variant: fc.constantFrom(0 as const, 1 as const, null) }),
  fc.record({ do: fc.constant("kill" as const), nth: fc.nat(7) }),
  fc.record({ do: fc.constant("reboot" as const) }),
  fc.record({ do: fc.constant("restart" as const) }),
  fc.record({ do: fc.constant("breathe" as const) }),
  fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1_000, 60_000, 180_000) }),
);

const fault = fc.constantFrom<Fault>("none", "none", "none", "none", "early", "late", "hangs", "dies");

async function take(simulation: Simulation, one: Step, variants: readonly Table[]): Promise<void> {
  switch (one.do) {
    case "aim":
      return simulation.aim(one.variant === null ? null : (variants[one.variant] ?? null));
    case "kill": {
      const names = [...simulation.world.devices.keys()];
      const name = names[one.nth % Math.max(1, names.length)];
      return name === undefined ? undefined : simulation.world.kill(name);
    }
    case "reboot":
      simulation.world.reboot();
      return simulation.restartController();
    case "restart":
      return simulation.restartController();
    case "breathe":
      return simulation.breathe();
    case "pass":
      return simulation.pass(one.ms);
  }
}

describe("a stack's machine", () => {
  it("brings any stack up bottom-up, and down top-down, leaving the files", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTable(), async (table) => {
        const simulation = new Simulation(table);
        expect(await simulation.rest()).toBe("settled");
        expectRunning(simulation, table);
        const files = [...simulation.world.files];
        simulation.aim(null);
        expect(await simulation.rest()).toBe("gone");
        expect(simulation.world.devices.size).toBe(0);
        expect([...simulation.world.files]).toEqual(files);
        expect(simulation.troubles).toBe(0);
      }),
      { numRuns: 40 },
    );
  });

  it("looks again without doing anything when it is settled", async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryTable(), async (table) => {
        const simulation = new Simulation(table);
        await simulation.rest();
        const before = new Map(simulation.world.devices);
        simulation.pass(PATIENCE.lookAgainMs);
        await simulation.breathe();
        expect(simulation.state).toBe("settled");
        for (const [name, device] of before) expect(simulation.world.devices.get(name)).toBe(device);
      }),
      { numRuns: 20 },
    );
  });

  it("arrives, whatever fails on the way and wherever the controller is killed", async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryVariants(),
        fc.array(step, { maxLength: 12 }),
        fc.array(fault, { maxLength: 30 }),
        fc.constantFrom(0 as const, 1 as const, null),
        async (variants, steps, faults, last) => {
          const simulation = new Simulation(variants[0], faults);
          for (const one of steps) await take(simulation, one, variants);
          simulation.world.calm();
          const final = last === null ? null : variants[last];
          simulation.aim(final);
          expect(await simulation.rest()).toBe(final === null ? "gone" : "settled");
          expectRunning(simulation, final);
          // Data files are never deleted: neither by failures nor by a delete.
          expect([...simulation.everMade].filter((file) => !simulation.world.files.has(file))).toEqual([]);
          if (final !== null) {
            const places = final.devices.flatMap((device) =>
              leavesOf(device).filter((leaf) => leaf.creatable),
            );
            for (const { place } of places) expect(simulation.world.files.has(place)).toBe(true);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("gives a server that dies again and again time, and a new one all the same", async () => {
    const [table] = fc.sample(arbitraryTable(), { numRuns: 1, seed: 3 });
    const name = table?.devices.at(-1)?.name;
    if (table === undefined || name === undefined) throw new Error("no table");
    const simulation = new Simulation(table);
    await simulation.rest();
    for (let death = 0; death < 3; death++) {
      simulation.world.kill(name);
      await simulation.breathe();
      expect(simulation.state).toBe("settled");
    }
    for (let death = 0; death < 3; death++) {
      simulation.world.kill(name);
      await simulation.breathe();
      expect(simulation.state).toBe("troubled");
      expect(simulation.context?.trouble?.code).toBe("server-died");
      simulation.pass(PATIENCE.backoffMs(death + 1));
      await simulation.breathe();
      expect(simulation.state).toBe("settled");
    }
    simulation.pass(PATIENCE.lookAgainMs);
    await simulation.breathe();
    simulation.world.kill(name);
    await simulation.breathe();
    expect(simulation.state).toBe("settled");
  });

  it("does not execute a plan that would lose data, and says so", async () => {
    const [table] = fc.sample(
      arbitraryTable().filter((one) => placesOf(one).length > 0),
      { numRuns: 1, seed: 7 },
    );
    if (table === undefined) throw new Error("no table");
    const simulation = new Simulation(table);
    await simulation.rest();
    simulation.world.lastApplied = table;
    simulation.world.reboot();
    for (const place of placesOf(table)) simulation.world.files.delete(place);
    const input = {
      stack: "s",
      world: simulation.world,
      patience: PATIENCE,
      target: { ...targetOf(table), options: {} },
    };
    const actor = createActor(stackMachine, { input, clock: simulation.clock });
    actor.start();
    await simulation.breathe();
    expect(actor.getSnapshot().value).toBe("blocked");
    expect(actor.getSnapshot().context.plan?.blocked[0]?.code).toBe("data-loss");
    expect(simulation.world.devices.size).toBe(0);
    actor.stop();
  });
});

/** Places of leaves that would be missed. */
const placesOf = (table: Table) =>
  table.devices
    .flatMap((device) => leavesOf(device).filter((leaf) => leaf.lasting && leaf.creatable))
    .map((leaf) => leaf.place);
