/**
 * One device of a stack. The names of the resting states are the driver's; the busy ones say what we are doing.
 *
 *   seen:  unseen ─► absent │ added │ live │ quiesced │ failed          by observation, never by assumption
 *   busy:  starting │ recovering │ adjusting │ reloading │ pausing │ stopping │ adopting
 *   over:  deleted                                                      stopped, or seen to be absent after a stop
 *
 * A resting device goes to a busy state when the stack says DO. A busy state ends in `unseen` and tells the stack how it went:
 * what the device is then, the next observation says. While it is live its server is watched; when that ends, the
 * stack is told, observes, and decides.
 */

import { assertEvent, assign, fromCallback, fromPromise, sendParent, setup } from "xstate";
import type { DevicePhase } from "../../plan/observed.js";
import { bodyFromError } from "../error-body.js";
import type { Desired } from "../stack-effects.js";
import type { DeviceActionKind, Patience, Trouble, World } from "./contract.js";

export interface DeviceInput {
  readonly name: string;
  readonly world: World;
  readonly patience: Patience;
}

export interface DeviceContext extends DeviceInput {
  readonly desired: Desired | null;
  readonly kind: DeviceActionKind | null;
  /** Why the last action failed; null after one that succeeded. */
  readonly trouble: Trouble | null;
}

export type DeviceEvent =
  | { readonly type: "SEEN"; readonly phase: DevicePhase; readonly served: boolean }
  | { readonly type: "DO"; readonly kind: DeviceActionKind; readonly desired: Desired | null }
  | { readonly type: "LOST" };

/** What the stack hears. */
export type DeviceNews =
  | { readonly type: "DEVICE.DONE"; readonly device: string }
  | { readonly type: "DEVICE.FAILED"; readonly device: string; readonly trouble: Trouble }
  | { readonly type: "DEVICE.LOST"; readonly device: string };

export interface PerformActorInput {
  readonly context: DeviceContext;
}

const perform = fromPromise<void, PerformActorInput>(({ input: { context }, signal }) => {
  const { kind, name, desired, world } = context;
  if (kind === null) throw new RangeError("a busy device has something to do");
  return world.perform({ kind, device: name, desired, signal });
});

const watch = fromCallback<DeviceEvent, DeviceInput>(({ input: { name, world }, sendBack }) =>
  world.watch(name, () => sendBack({ type: "LOST" })),
);

const machine = setup({
  types: {
    context: {} as DeviceContext,
    events: {} as DeviceEvent,
    input: {} as DeviceInput,
  },
  actors: { perform, watch },
  guards: {
    sees: ({ event }, phase: DevicePhase) => event.type === "SEEN" && event.phase === phase,
    /** Live with a server: without one, the driver holds the IO back and there is nothing to watch. */
    seesServed: ({ event }) => event.type === "SEEN" && event.phase === "live" && event.served,
    does: ({ event }, kinds: readonly DeviceActionKind[]) =>
      event.type === "DO" && kinds.includes(event.kind),
  },
  actions: {
    take: assign(({ event }) => {
      assertEvent(event, "DO");
      return { kind: event.kind, desired: event.desired };
    }),
    succeed: assign({ trouble: null, kind: null }),
    fail: assign((_, trouble: Trouble) => ({ trouble, kind: null })),
    tellDone: sendParent(({ context: { name } }): DeviceNews => ({ type: "DEVICE.DONE", device: name })),
    tellFailed: sendParent(
      ({ context: { name } }, trouble: Trouble): DeviceNews => ({
        type: "DEVICE.FAILED",
        device: name,
        trouble,
      }),
    ),
    tellLost: sendParent(({ context: { name } }): DeviceNews => ({ type: "DEVICE.LOST", device: name })),
  },
  delays: { performMs: ({ context }) => context.patience.performMs },
});

function late({ name, patience }: DeviceContext, words: string): Trouble {
  const message = `waited ${patience.performMs / 1000} s for ${words} device "${name}"`;
  return { code: "timeout", message, details: {}, findings: [] };
}

/** A busy state: performs what it was told, within the machine's patience. */
function busy(words: string, done: "unseen" | "deleted") {
  return machine.createStateConfig({
    tags: "busy",
    invoke: {
      src: "perform",
      input: ({ context }) => ({ context }),
      onDone: { target: `resting.${done}`, actions: ["succeed", "tellDone"] },
      onError: {
        target: "resting.unseen",
        actions: [
          { type: "fail", params: ({ event }) => bodyFromError(event.error) },
          { type: "tellFailed", params: ({ event }) => bodyFromError(event.error) },
        ],
      },
    },
    after: {
      performMs: {
        target: "resting.unseen",
        actions: [
          { type: "fail", params: ({ context }) => late(context, words) },
          { type: "tellFailed", params: ({ context }) => late(context, words) },
        ],
      },
    },
  });
}

export const deviceMachine = machine.createMachine({
  id: "device",
  context: ({ input }) => ({ ...input, desired: null, kind: null, trouble: null }),
  initial: "resting",
  states: {
    resting: {
      initial: "unseen",
      states: {
        unseen: {},
        absent: {},
        added: {},
        quiesced: {},
        failed: {},
        deleted: {},
        live: {
          invoke: { src: "watch", input: ({ context }) => context },
          on: {
            LOST: { target: "unseen", actions: "tellLost" },
            // Watched already: another look must not stop watching, not even for a moment.
            SEEN: { guard: "seesServed" },
          },
        },
      },
      on: {
        SEEN: [
          { guard: "seesServed", target: ".live" },
          { guard: { type: "sees", params: "absent" }, target: ".absent" },
          { guard: { type: "sees", params: "added" }, target: ".added" },
          { guard: { type: "sees", params: "failed" }, target: ".failed" },
          { target: ".quiesced" },
        ],
        DO: [
          { guard: { type: "does", params: ["start", "recreate"] }, target: "starting", actions: "take" },
          { guard: { type: "does", params: ["recover"] }, target: "recovering", actions: "take" },
          { guard: { type: "does", params: ["adjust"] }, target: "adjusting", actions: "take" },
          { guard: { type: "does", params: ["reload"] }, target: "reloading", actions: "take" },
          { guard: { type: "does", params: ["pause"] }, target: "pausing", actions: "take" },
          { guard: { type: "does", params: ["adopt"] }, target: "adopting", actions: "take" },
          { target: "stopping", actions: "take" },
        ],
      },
    },
    starting: busy("starting", "unseen"),
    recovering: busy("recovering", "unseen"),
    adjusting: busy("adjusting", "unseen"),
    reloading: busy("reloading", "unseen"),
    pausing: busy("pausing", "unseen"),
    adopting: busy("adopting", "unseen"),
    stopping: busy("stopping", "deleted"),
  },
});
