/** When a change fails: back to what was there before, and nothing left of what it made. */

import { rm } from "node:fs/promises";
import { StackError } from "../errors.js";
import type { Target } from "./machines/contract.js";
import type { StackEntry } from "./stack-entry.js";
import type { StoredStack } from "./store.js";

/** Taking servers down, or the old ones up again. */
const ROLLBACK_MS = 120_000;

/**
 * @param before where to go back to; null when there was no such stack
 * @returns the error to show, which says what became of the way back
 */
export async function rollBack(
  entry: StackEntry,
  before: Target | null,
  stored: StoredStack | null,
  reason: unknown,
): Promise<unknown> {
  const made = [...entry.createdNow];
  try {
    await entry.update((now) =>
      stored === null
        ? { ...now, deleting: true }
        : { ...stored, applied: now.applied, createdFiles: stored.createdFiles },
    );
    entry.runner.aim(before ?? { desired: null, options: { force: true } });
    await entry.runner.rested(AbortSignal.timeout(ROLLBACK_MS));
    // Only now: nobody has them open any more.
    for (const path of made) await rm(path, { force: true });
    return reason;
  } catch (error) {
    const code = reason instanceof StackError ? reason.code : "internal";
    const details = reason instanceof StackError ? reason.details : {};
    return new StackError(
      code,
      `${messageOf(reason)}; going back to what was there before failed too: ${messageOf(error)}`,
      details,
      { cause: reason },
    );
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
