/** What the machines ask of the world, and what they tell: the seam where tests put a simulated one. */

import type { Observed } from "../../plan/observed.js";
import type { Action, PlanOptions } from "../../plan/plan.js";
import type { ErrorBody, ProgressEvent } from "../api.js";
import type { Desired } from "../stack-effects.js";

/** Actions that one device goes through; the others are the stack's. */
export type DeviceActionKind = Exclude<Action["kind"], "none" | "create-file">;

export interface PerformInput {
  readonly kind: DeviceActionKind;
  readonly device: string;
  /** null when the stack is to go. */
  readonly desired: Desired | null;
  readonly signal: AbortSignal;
}

export type Report = Omit<ProgressEvent, "event">;

/** What a stack should become. */
export interface Target {
  /** null: nothing at all. */
  readonly desired: Desired | null;
  readonly options: PlanOptions;
}

/** Every promise here is bounded in time and rejects with a StackError. */
export interface World {
  observe(target: Target): Promise<Observed>;
  createFiles(layers: readonly string[], target: Target): Promise<void>;
  perform(input: PerformInput): Promise<void>;
  /** Calls back once, when the server of a device has ended or was never there. @returns how to stop watching */
  watch(device: string, lost: () => void): () => void;
}

/** Why a stack is not as it should be. */
export type Trouble = ErrorBody;

/** All waits of the machines in one place, in milliseconds. The world's own are shorter and say more. */
export interface Patience {
  readonly observeMs: number;
  readonly performMs: number;
  readonly createMs: number;
  /** A settled stack is looked at again after this long even if nothing was heard. */
  readonly lookAgainMs: number;
  /** Wait before attempt n (from 1) after trouble. */
  readonly backoffMs: (attempt: number) => number;
}

export const PATIENCE: Patience = {
  observeMs: 30_000,
  performMs: 180_000,
  createMs: 60_000,
  lookAgainMs: 30_000,
  backoffMs: (attempt) => Math.min(60_000, 1_000 * 2 ** Math.min(attempt - 1, 6)),
};
