/** Waiting for a condition of a stack, for as long as somebody asks. */

import { once } from "node:events";
import { StackError } from "../errors.js";
import type { WaitCondition } from "./api.js";
import type { Stacks } from "./stacks.js";
import { isSynced } from "./status.js";
import type { StatusItem } from "./status-schema.js";

/** How long a copy goes on before it is looked at again: its progress is not told, only asked. */
const SYNC_LOOK_MS = 250;

/** @throws StackError timeout with what is missing, stack-unknown */
export async function waitFor(
  stacks: Stacks,
  name: string,
  condition: WaitCondition,
  timeoutMs: number,
): Promise<StatusItem> {
  const patience = AbortSignal.timeout(timeoutMs);
  for (;;) {
    const item = await stacks.get(name);
    const ready = item.status.phase === "Ready";
    if (ready && (condition === "ready" || isSynced(item))) return item;
    if (patience.aborted) throw tooLate(item, condition, timeoutMs);
    const step = AbortSignal.any([patience, AbortSignal.timeout(SYNC_LOOK_MS)]);
    await once(stacks.runnerOf(name), "state", { signal: step }).catch((error: unknown) => {
      if (!step.aborted) throw error;
    });
  }
}

function tooLate(
  { metadata: { name }, status }: StatusItem,
  condition: WaitCondition,
  timeoutMs: number,
): StackError {
  const why = status.conditions.map((entry) => entry.message).join("; ");
  const state =
    condition === "ready" || status.phase !== "Ready"
      ? `it is ${status.phase}`
      : "its mirrors are not in sync";
  return new StackError(
    "timeout",
    `waited ${timeoutMs / 1000} s for stack "${name}" to be ${condition}: ${state}${why === "" ? "" : `; ${why}`}`,
    { stack: name },
  );
}
