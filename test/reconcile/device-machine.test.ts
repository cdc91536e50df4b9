/** The device's machine on paper: every state, every way into it, and a way out of each, by pure transitions. */

import { describe, expect, it } from "vitest";
import { transition } from "xstate";
import { getShortestPaths } from "xstate/graph";
import type { DevicePhase } from "../../src/plan/observed.js";
import { type DeviceActionKind, PATIENCE, type World } from "../../src/reconcile/machines/contract.js";
import { type DeviceEvent, deviceMachine } from "../../src/reconcile/machines/device.machine.js";

const KINDS: DeviceActionKind[] = ["start", "recover", "reload", "recreate", "pause", "stop", "adopt"];
const PHASES: DevicePhase[] = ["absent", "added", "live", "quiesced", "failed"];
const BUSY = ["starting", "recovering", "reloading", "pausing", "stopping", "adopting"];

/** Nothing of it is called: transitions are pure. */
const NO_WORLD: World = {
  observe: () => Promise.reject(new Error("not on paper")),
  createFiles: () => Promise.reject(new Error("not on paper")),
  perform: () => Promise.reject(new Error("not on paper")),
  watch: () => () => undefined,
};

const input = { name: "d", world: NO_WORLD, patience: PATIENCE };

const events = [
  ...PHASES.flatMap((phase): DeviceEvent[] => [
    { type: "SEEN", phase, served: true },
    { type: "SEEN", phase, served: false },
  ]),
  ...KINDS.map((kind): DeviceEvent => ({ type: "DO", kind, desired: null })),
  { type: "LOST" } as DeviceEvent,
  // What the busy states hear from the actor that they invoke, and from the clock.
  ...BUSY.flatMap((state) => [
    { type: `xstate.done.actor.0.device.${state}`, output: undefined, actorId: `0.device.${state}` },
    {
      type: `xstate.error.actor.0.device.${state}`,
      error: new Error("failed"),
      actorId: `0.device.${state}`,
    },
    { type: `xstate.after.performMs.device.${state}` },
  ]),
] as DeviceEvent[];

const options = {
  input,
  events,
  serializeState: (snapshot: { value: unknown }) => JSON.stringify(snapshot.value),
};

const nameOf = (value: unknown) =>
  typeof value === "string" ? value : String(Object.values(value as Record<string, unknown>)[0]);

describe("a device's machine", () => {
  // On paper there is no stack to tell.
  const alone = deviceMachine.provide({
    actions: { tellDone: () => undefined, tellFailed: () => undefined, tellLost: () => undefined },
  });
  const shortest = getShortestPaths(alone, options);

  it("reaches every state", () => {
    const reached = new Set(shortest.map((path) => nameOf(path.state.value)));
    expect([...reached].sort()).toEqual([...BUSY, ...PHASES, "deleted", "unseen"].sort());
  });

  it.each(BUSY)("comes to rest from %s by success, failure and the end of patience", (state) => {
    const path = shortest.find((one) => nameOf(one.state.value) === state);
    if (path === undefined) throw new Error("not reached");
    const stateAfter = (type: string) =>
      nameOf(
        transition(alone, path.state, { type, error: new Error("failed") } as unknown as DeviceEvent)[0]
          .value,
      );
    expect(stateAfter(`xstate.done.actor.0.device.${state}`)).toBe(
      state === "stopping" ? "deleted" : "unseen",
    );
    expect(stateAfter(`xstate.error.actor.0.device.${state}`)).toBe("unseen");
    expect(stateAfter(`xstate.after.performMs.device.${state}`)).toBe("unseen");
  });

  it("goes where it is told from every rest, and nowhere else while it is busy", () => {
    for (const path of shortest) {
      const busy = BUSY.includes(nameOf(path.state.value));
      for (const kind of KINDS) expect(path.state.can({ type: "DO", kind, desired: null })).toBe(!busy);
    }
  });

  it("keeps watching a server that is seen again", () => {
    const live = shortest.find((path) => nameOf(path.state.value) === "live");
    if (live === undefined) throw new Error("live is not reached");
    const [next, actions] = transition(alone, live.state, {
      type: "SEEN",
      phase: "live",
      served: true,
    });
    expect(nameOf(next.value)).toBe("live");
    expect(actions).toEqual([]);
  });
});
