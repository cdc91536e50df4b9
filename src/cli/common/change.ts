/** Following one change (apply or delete) to its end: events of the controller → progress, warnings, result. */

import type { Table } from "../../compile/table.js";
import { StackError } from "../../errors.js";
import type { Plan } from "../../plan/plan.js";
import type { ChangeEvent, DoneEvent } from "../../reconcile/api.js";
import type { Finding } from "../../spec/index.js";
import type { Progress } from "./progress.js";

export interface Followed {
  readonly done: DoneEvent;
  readonly plan: Plan | null;
  /** What the plan leads to. */
  readonly table: Table | null;
  readonly warnings: readonly Finding[];
}

/**
 * @throws what the change failed with; progress is ended in any case
 */
export async function follow(events: AsyncIterable<ChangeEvent>, progress: Progress): Promise<Followed> {
  let plan: Plan | null = null;
  let table: Table | null = null;
  const warnings: Finding[] = [];
  try {
    for await (const event of events) {
      switch (event.event) {
        case "plan":
          ({ plan, table } = event);
          progress.planned(event.plan);
          break;
        case "progress":
          progress.happened(event);
          break;
        case "finding":
          warnings.push(event.finding);
          break;
        case "done":
          await progress.end(true);
          return { done: event, plan, table, warnings };
        case "error":
          throw new StackError("internal", event.error.message);
      }
    }
    throw new StackError(
      "controller-unreachable",
      "the controller ended before the change did; say it again to go on",
    );
  } catch (error) {
    await progress.end(false);
    throw error;
  }
}

/**
 * The signal of one change: Ctrl-C, or the controller not keeping its own bound.
 * @param timeoutMs what the controller was told; it gets a little longer to say what it waited for
 */
export function changeSignal(interrupted: AbortSignal, timeoutMs: number): AbortSignal {
  return AbortSignal.any([interrupted, AbortSignal.timeout(timeoutMs + 30_000)]);
}
