/** One stack that runs: its machine, with the real world behind it. */

import { EventEmitter, once } from "node:events";
import { type Actor, type ActorRefFrom, createActor, type SnapshotFrom } from "xstate";
import { StackError } from "../errors.js";
import type { Observed } from "../plan/observed.js";
import type { Plan } from "../plan/plan.js";
import { Channels } from "./channels.js";
import { type Ask, ControlChannel } from "./control-channel.js";
import type { Driver } from "./driver.js";
import { errorFromBody } from "./error-body.js";
import type { PerformInput, Report, Target, World } from "./machines/contract.js";
import { PATIENCE } from "./machines/contract.js";
import type { deviceMachine } from "./machines/device.machine.js";
import { childId, type StackContext, stackMachine } from "./machines/stack.machine.js";
import { observe, type StackView } from "./observe.js";
import { deviceRunDir, type Paths } from "./paths.js";
import { StackEffects } from "./stack-effects.js";
import type { StackStore } from "./store.js";

const CONNECT_MS = 1_000;

export interface RunnerInput {
  readonly paths: Paths;
  readonly stack: string;
  readonly serverCommand: readonly string[];
  readonly driver: Driver;
  readonly store: StackStore;
  /** Told before a file that was made is used: what a rollback takes back. */
  readonly onCreated: (path: string) => Promise<void>;
}

/** Where the machine of a stack rests, or that it is at work. */
export type RunnerState = "working" | "settled" | "blocked" | "troubled" | "gone";

interface RunnerEvents {
  report: [Report];
  /** The machine came to rest, or left it. */
  state: [RunnerState];
}

export class StackRunner extends EventEmitter<RunnerEvents> implements World {
  readonly #input: RunnerInput;
  readonly #channels = new Channels();
  readonly #effects: StackEffects;
  readonly #adopted = new Set<string>();
  readonly #actor: Actor<typeof stackMachine>;
  readonly #servers = new Map<string, { readonly pid: number; readonly restarts: number }>();
  #state: RunnerState = "working";
  #tidying: Promise<void> = Promise.resolve();

  constructor(input: RunnerInput, target: Target) {
    super();
    this.#input = input;
    const { paths, stack, serverCommand, driver, onCreated } = input;
    this.#effects = new StackEffects({
      paths,
      stack,
      serverCommand,
      driver,
      channels: this.#channels,
      report: (report) => this.emit("report", report),
      onServerEnd: () => this.look(),
      onCreated,
    });
    this.#actor = createActor(stackMachine, { input: { stack, world: this, patience: PATIENCE, target } });
    this.#actor.subscribe((snapshot) => this.#enter(stateOf(snapshot.value)));
  }

  start(): void {
    this.#actor.start();
  }

  get state(): RunnerState {
    return this.#state;
  }

  get context(): StackContext {
    return this.#actor.getSnapshot().context;
  }

  /** How often a device's server was found to be another one than before. */
  restartsOf(device: string): number {
    return this.#servers.get(device)?.restarts ?? 0;
  }

  /** What a device is doing, by the name of its machine's state; null before it was first seen. */
  activityOf(device: string): string | null {
    const value: unknown = this.#deviceSnapshot(device)?.value;
    if (typeof value === "string") return value;
    return typeof value === "object" && value !== null && "resting" in value ? String(value.resting) : null;
  }

  #deviceSnapshot(device: string): SnapshotFrom<typeof deviceMachine> | undefined {
    const child = this.#actor.getSnapshot().children[childId(device)];
    return (child as ActorRefFrom<typeof deviceMachine> | undefined)?.getSnapshot();
  }

  /** Gives the stack another target; the machine is at work when this returns. */
  aim(target: Target): void {
    this.#actor.send({ type: "TARGET", target });
  }

  /** Makes it look again now. */
  look(): void {
    if (this.#actor.getSnapshot().status !== "active") return;
    this.#actor.send({ type: "LOOK" });
  }

  /**
   * Waits until the machine rests, as it should.
   * @throws StackError why it does not, or timeout with what it is doing
   */
  async rested(signal: AbortSignal): Promise<"settled" | "gone"> {
    while (this.#state === "working") {
      try {
        await once(this, "state", { signal });
      } catch (error) {
        if (!signal.aborted) throw error;
        throw new StackError("timeout", `stack "${this.#input.stack}" is still at work: ${this.#activity()}`);
      }
    }
    const { trouble, plan } = this.context;
    if (this.#state === "settled" || this.#state === "gone") return this.#state;
    if (this.#state === "troubled" && trouble !== null) throw errorFromBody(trouble);
    throw blockedError(this.#input.stack, plan?.blocked ?? []);
  }

  /** Ends watching and deciding; servers go on. */
  stop(): void {
    this.#actor.stop();
    this.#channels.closeAll();
  }

  /** Looks at the stack: nothing changes. */
  async view(target: Target = this.context.target, thorough = false): Promise<StackView> {
    const { paths, stack, driver, store } = this.#input;
    const { desired } = target;
    const view = await observe({
      paths,
      stack,
      desired,
      lastApplied: (await store.read(stack).catch(ignoreCorrupt))?.applied ?? null,
      driver,
      channels: this.#channels,
      adopted: this.#adopted,
      thorough,
    });
    for (const [device, { serverPid }] of view.devices) if (serverPid !== null) this.#note(device, serverPid);
    return view;
  }

  /** Sends a request to a device's server. @throws StackError when it does not answer */
  async ask(
    device: string,
    request: { readonly op: string; readonly [key: string]: unknown },
  ): Promise<unknown> {
    const channel = await this.#channels.to(deviceRunDir(this.#input.paths, this.#input.stack, device));
    if (channel === null) throw new StackError("server-died", `the server of "${device}" does not listen`);
    return channel.ask(request, 10_000);
  }

  /**
   * Puts questions to one and the same server of a device: another one knows nothing of what came before.
   * @throws StackError server-died when nobody listens
   */
  async converse<T>(device: string, use: (ask: Ask) => Promise<T>): Promise<T> {
    const folder = deviceRunDir(this.#input.paths, this.#input.stack, device);
    const channel = await ControlChannel.open(`${folder}/control.sock`, CONNECT_MS);
    if (channel === null) throw new StackError("server-died", `the server of "${device}" does not listen`);
    try {
      return await use((request, timeoutMs) => channel.ask(request, timeoutMs));
    } finally {
      channel.close();
    }
  }

  /** Removes what a settled stack has no use for. */
  async tidy(): Promise<void> {
    const { desired } = this.context.target;
    if (this.#state !== "settled" || desired === null) return;
    this.#tidying = this.#effects.tidy(desired);
    await this.#tidying;
  }

  removeRunFolder(): Promise<void> {
    return this.#effects.removeRunFolder();
  }

  async observe(target: Target): Promise<Observed> {
    return (await this.view(target)).observed;
  }

  createFiles(layers: readonly string[], { desired }: Target): Promise<void> {
    return desired === null ? Promise.resolve() : this.#effects.createFiles(layers, desired);
  }

  async perform(input: PerformInput): Promise<void> {
    this.#adopted.delete(input.device);
    // A folder that is being made must not be taken for a leftover. Whoever asked to tidy up hears of its errors.
    await this.#tidying.catch(() => undefined);
    await this.#effects.perform(input);
    if (input.kind !== "stop" && input.kind !== "pause") this.#adopted.add(input.device);
  }

  watch(device: string, lost: () => void): () => void {
    let watching = true;
    const tell = () => {
      if (!watching) return;
      watching = false;
      this.#adopted.delete(device);
      lost();
    };
    const runDir = deviceRunDir(this.#input.paths, this.#input.stack, device);
    this.#channels.to(runDir).then((channel) => (channel === null ? tell() : channel.onClose(tell)), tell);
    return () => {
      watching = false;
    };
  }

  #note(device: string, pid: number): void {
    const known = this.#servers.get(device) ?? { pid, restarts: 0 };
    this.#servers.set(device, { pid, restarts: known.restarts + (known.pid === pid ? 0 : 1) });
  }

  #enter(state: RunnerState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.emit("state", state);
  }

  #activity(): string {
    const { devices } = this.context;
    return (
      [...devices].map((name) => `${name} is ${this.activityOf(name) ?? "not seen yet"}`).join(", ") ||
      "looking"
    );
  }
}

const RESTS = ["settled", "blocked", "troubled", "gone"] as const;

function stateOf(value: unknown): RunnerState {
  return RESTS.find((rest) => rest === value) ?? "working";
}

/** @param usersOf who uses a device, in words, if somebody looked */
export function blockedError(
  stack: string,
  blocked: Plan["blocked"],
  usersOf: (device: string) => readonly string[] = () => [],
): StackError {
  const [first] = blocked;
  if (first === undefined) return new StackError("internal", `stack "${stack}" rests without a reason`);
  const messages = blocked.map(({ code, subject, message }) => {
    const users = code === "device-in-use" ? usersOf(subject) : [];
    return users.length === 0 ? message : `${message} (${users.join(", ")})`;
  });
  return new StackError(first.code, `stack "${stack}": ${messages.join("; ")}`, { stack, blocked });
}

function ignoreCorrupt(error: unknown): undefined {
  if (error instanceof StackError && error.code === "state-corrupt") return undefined;
  throw error;
}
