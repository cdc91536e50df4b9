/**
 * One stack: it looks, plans, and lets its devices act, until a look finds nothing left to do.
 *
 *   observing ─► judging ─┬─► blocked                     the plan must not be executed as it is
 *      ▲                  ├─► settled                     everything is as desired
 *      │                  ├─► gone                        nothing is desired, and nothing is there
 *      │                  └─► releasing ─► making ─► raising ─┐     (machines/order.ts)
 *      └──────────────────────────────────────────────────────┘
 *   troubled: something failed; after a while that grows, it looks again
 *
 * It acts on observations only. Events (a server was lost, somebody asks, time has passed) merely make it look again,
 * so it may be started in any state of the world, and stopped at any point.
 *
 * Invariants: an action runs on a device at a time; a new target is taken up when the actions under way have ended.
 */

import { and, assign, enqueueActions, fromPromise, setup } from "xstate";
import type { Observed } from "../../plan/observed.js";
import { hasChanges, type Plan, plan } from "../../plan/plan.js";
import { bodyFromError } from "../error-body.js";
import type { Patience, Target, Trouble, World } from "./contract.js";
import { type DeviceEvent, type DeviceNews, deviceMachine } from "./device.machine.js";
import { actionsOf, type DeviceAction, filesOf, runnable } from "./order.js";

export interface StackInput {
  readonly stack: string;
  readonly world: World;
  readonly patience: Patience;
  readonly target: Target;
}

export interface StackContext extends StackInput {
  readonly observed: Observed | null;
  readonly plan: Plan | null;
  /** Devices that have an actor, whose id is childId(name). */
  readonly devices: ReadonlySet<string>;
  /** Devices whose action of this stage has begun; and those where it has ended well. */
  readonly begun: ReadonlySet<string>;
  readonly finished: ReadonlySet<string>;
  /** Looks since the stack was last settled. */
  readonly rounds: number;
  /** Troubles since it was last settled for a while. */
  readonly attempts: number;
  /** Dead servers that were replaced since then: their supervisors had given up, or were killed. */
  readonly revivals: number;
  /** Whether the wait after a trouble is just over, which allows one more revival. */
  readonly rested: boolean;
  readonly trouble: Trouble | null;
  /** What is under way is to end, and nothing more to begin: there is trouble, or another target. */
  readonly halted: boolean;
}

export type StackEvent =
  | { readonly type: "TARGET"; readonly target: Target }
  /** Look again now. */
  | { readonly type: "LOOK" }
  | DeviceNews;

/** A plan converges in two rounds; a world that changes under our hands may need some more. */
const MAX_ROUNDS = 8;
/** Servers that die more often than that are given time before each further revival. */
const MAX_REVIVALS = 3;

interface WithContext {
  readonly context: StackContext;
}

const FRESH = { attempts: 0, rounds: 0, revivals: 0, rested: false } as const;

const machine = setup({
  types: {
    context: {} as StackContext,
    events: {} as StackEvent,
    input: {} as StackInput,
  },
  actors: {
    device: deviceMachine,
    observe: fromPromise<Observed, WithContext>(({ input: { context } }) =>
      context.world.observe(context.target),
    ),
    createFiles: fromPromise<void, WithContext>(({ input: { context } }) =>
      context.world.createFiles(filesOf(planOf(context)), context.target),
    ),
  },
  guards: {
    isBlocked: ({ context }) => planOf(context).blocked.length > 0,
    isGone: ({ context }) => context.target.desired === null && planOf(context).actions.length === 0,
    isSettled: ({ context }) =>
      !hasChanges(planOf(context)) && planOf(context).actions.every((action) => action.kind === "none"),
    isRestless: ({ context }) => context.rounds > MAX_ROUNDS,
    isFlapping: ({ context }) => revives(context) && context.revivals >= MAX_REVIVALS && !context.rested,
    isHalted: ({ context }) => context.halted && context.begun.size === context.finished.size,
    isReleased: ({ context }) => stageIsOver(context, "release"),
    isReleasedAndHasFiles: ({ context }) =>
      stageIsOver(context, "release") && filesOf(planOf(context)).length > 0,
    isRaised: ({ context }) => stageIsOver(context, "raise"),
    hasTrouble: ({ context }) => context.trouble !== null,
  },
  actions: {
    takeTarget: assign(({ context, event }) =>
      event.type === "TARGET" ? { target: event.target, trouble: null, ...FRESH } : context,
    ),
    postponeTarget: assign(({ context, event }) =>
      event.type === "TARGET" ? { target: event.target, halted: true, ...FRESH } : context,
    ),
    note: assign((_, trouble: Trouble) => ({ trouble })),
    noteObserved: enqueueActions(({ enqueue, context }, observed: Observed) => {
      const made = plan(context.target.desired?.table ?? null, observed, {
        ...context.target.options,
        ...(context.target.desired === null ? {} : { paths: context.target.desired.leafPaths }),
      });
      enqueue.assign({ observed, plan: made, rounds: context.rounds + 1, halted: false, trouble: null });
      const names = new Set(observed.devices.map((device) => device.name));
      for (const action of made.actions) if (action.device !== null) names.add(action.device);
      for (const name of context.devices) if (!names.has(name)) enqueue.stopChild(childId(name));
      for (const name of names) {
        if (context.devices.has(name)) continue;
        const { world, patience } = context;
        enqueue.spawnChild("device", { id: childId(name), input: { name, world, patience } });
      }
      enqueue.assign({ devices: names });
      for (const { name, phase, server } of observed.devices) {
        enqueue.sendTo(childId(name), {
          type: "SEEN",
          phase,
          served: server === "running",
        } satisfies DeviceEvent);
      }
    }),
    beginStage: assign({ begun: new Set<string>(), finished: new Set<string>() }),
    dispatch: enqueueActions(({ enqueue, context }, stage: "release" | "raise") => {
      const next = context.halted ? [] : nextActions(context, stage);
      if (next.length === 0) return;
      enqueue.assign({ begun: new Set([...context.begun, ...next.map((action) => action.device)]) });
      const { desired } = context.target;
      for (const { kind, device } of next) {
        enqueue.sendTo(childId(device), { type: "DO", kind, desired } satisfies DeviceEvent);
      }
    }),
    finishDevice: assign(({ context, event }) =>
      event.type === "DEVICE.DONE" ? { finished: new Set([...context.finished, event.device]) } : context,
    ),
    /** The device's action has ended, badly: nothing more begins. */
    failDevice: assign(({ context, event }) =>
      event.type === "DEVICE.FAILED"
        ? {
            finished: new Set([...context.finished, event.device]),
            halted: true,
            trouble: context.trouble ?? event.trouble,
          }
        : context,
    ),
    countAttempt: assign({ attempts: ({ context }) => context.attempts + 1, rounds: 0 }),
    settle: assign({ rounds: 0, trouble: null }),
    calmDown: assign(FRESH),
    noteRest: assign({ rested: true }),
    countRevival: assign(({ context }) => ({
      revivals: context.revivals + (revives(context) ? 1 : 0),
      rested: false,
    })),
  },
  delays: {
    observeMs: ({ context }) => context.patience.observeMs,
    createMs: ({ context }) => context.patience.createMs,
    lookAgainMs: ({ context }) => context.patience.lookAgainMs,
    backoffMs: ({ context }) => context.patience.backoffMs(Math.max(1, context.attempts)),
  },
});

/** The id of a device's actor among the children of its stack's. */
export const childId = (device: string) => `device:${device}`;

function planOf(context: StackContext): Plan {
  if (context.plan === null) throw new RangeError("there is no plan before the first observation");
  return context.plan;
}

/** Whether the plan replaces a server that died for good. */
function revives(context: StackContext): boolean {
  const dead = new Set(context.observed?.devices.flatMap((one) => (one.server === "dead" ? [one.name] : [])));
  return planOf(context).actions.some(
    ({ kind, device }) => (kind === "start" || kind === "recover") && device !== null && dead.has(device),
  );
}

function nextActions(context: StackContext, stage: "release" | "raise"): DeviceAction[] {
  if (context.observed === null) return [];
  const { desired } = context.target;
  const actions = actionsOf(planOf(context), stage);
  return runnable(stage, actions, desired?.table ?? null, context.observed, context.begun, context.finished);
}

const stageIsOver = (context: StackContext, stage: "release" | "raise") =>
  context.finished.size === actionsOf(planOf(context), stage).length;

type StageEnd = {
  readonly guard: "isReleased" | "isReleasedAndHasFiles" | "isRaised";
  readonly target: "making" | "raising" | "observing";
};

/** Releasing and raising: actions of devices, as many side by side as the graph allows. */
function stage(name: "release" | "raise", next: StageEnd[]) {
  const dispatch = { type: "dispatch", params: name } as const;
  return machine.createStateConfig({
    entry: ["beginStage", dispatch],
    always: [
      { guard: and(["isHalted", "hasTrouble"]), target: "troubled" },
      { guard: "isHalted", target: "observing" },
      ...next,
    ],
    on: {
      "DEVICE.DONE": { actions: ["finishDevice", dispatch] },
      "DEVICE.FAILED": { actions: "failDevice" },
      TARGET: { actions: "postponeTarget" },
    },
  });
}

export const stackMachine = machine.createMachine({
  id: "stack",
  context: ({ input }) => ({
    ...input,
    observed: null,
    plan: null,
    devices: new Set(),
    begun: new Set(),
    finished: new Set(),
    ...FRESH,
    trouble: null,
    halted: false,
  }),
  initial: "observing",
  states: {
    observing: {
      invoke: {
        src: "observe",
        input: ({ context }) => ({ context }),
        onDone: { target: "judging", actions: { type: "noteObserved", params: ({ event }) => event.output } },
        onError: {
          target: "troubled",
          actions: { type: "note", params: ({ event }) => bodyFromError(event.error) },
        },
      },
      after: {
        observeMs: {
          target: "troubled",
          actions: {
            type: "note",
            params: ({ context }) => late(context.patience.observeMs, `a look at stack "${context.stack}"`),
          },
        },
      },
      on: { TARGET: { target: "observing", reenter: true, actions: "takeTarget" } },
    },
    judging: {
      always: [
        { guard: "isGone", target: "gone" },
        { guard: "isBlocked", target: "blocked" },
        { guard: "isSettled", target: "settled" },
        {
          guard: "isRestless",
          target: "troubled",
          actions: {
            type: "note",
            params: ({ context }): Trouble => ({
              code: "stack-failed",
              message: `stack "${context.stack}" is not as it should be after ${MAX_ROUNDS} rounds: ${remaining(context)}`,
              details: {},
              findings: [],
            }),
          },
        },
        {
          guard: "isFlapping",
          target: "troubled",
          actions: {
            type: "note",
            params: ({ context }): Trouble => ({
              code: "server-died",
              message: `servers of stack "${context.stack}" die again and again: ${remaining(context)}`,
              details: {},
              findings: [],
            }),
          },
        },
        { target: "releasing", actions: "countRevival" },
      ],
    },
    releasing: stage("release", [
      { guard: "isReleasedAndHasFiles", target: "making" },
      { guard: "isReleased", target: "raising" },
    ]),
    making: {
      invoke: {
        src: "createFiles",
        input: ({ context }) => ({ context }),
        onDone: [{ guard: "isHalted", target: "observing" }, { target: "raising" }],
        onError: {
          target: "troubled",
          actions: { type: "note", params: ({ event }) => bodyFromError(event.error) },
        },
      },
      after: {
        createMs: {
          target: "troubled",
          actions: {
            type: "note",
            params: ({ context }) =>
              late(context.patience.createMs, `files of stack "${context.stack}" to be made`),
          },
        },
      },
      on: { TARGET: { actions: "postponeTarget" } },
    },
    raising: stage("raise", [{ guard: "isRaised", target: "observing" }]),
    settled: {
      tags: "rest",
      entry: "settle",
      on: {
        TARGET: { target: "observing", actions: "takeTarget" },
        "DEVICE.LOST": "observing",
        LOOK: "observing",
      },
      after: { lookAgainMs: { target: "observing", actions: "calmDown" } },
    },
    blocked: {
      tags: "rest",
      on: {
        TARGET: { target: "observing", actions: "takeTarget" },
        "DEVICE.LOST": "observing",
        LOOK: "observing",
      },
      after: { lookAgainMs: "observing" },
    },
    troubled: {
      tags: "rest",
      entry: "countAttempt",
      on: {
        TARGET: { target: "observing", actions: "takeTarget" },
      },
      after: { backoffMs: { target: "observing", actions: "noteRest" } },
    },
    gone: { type: "final", tags: "rest" },
  },
});

function late(milliseconds: number, what: string): Trouble {
  return {
    code: "timeout",
    message: `waited ${milliseconds / 1000} s for ${what}`,
    details: {},
    findings: [],
  };
}

const remaining = (context: StackContext) =>
  planOf(context)
    .actions.filter((action) => action.kind !== "none")
    .map((action) => `${action.kind} ${action.device ?? action.layer}`)
    .join(", ");
