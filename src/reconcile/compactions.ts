/** The image of a layer that is being served, made smaller by its server: begun, asked about and stopped. */

import { isErrorCode, StackError } from "../errors.js";
import type { Compaction, CompactionBegun } from "./compaction-schema.js";
import { placeIn } from "./snapshots.js";
import type { StackEntry } from "./stack-entry.js";

/** A server answers from a thread of its own, whatever its queues do. */
const ANSWER_MS = 10_000;

interface Refusal {
  readonly error?: { readonly code?: string; readonly message?: string } | string;
}

async function demand<T>(entry: StackEntry, layer: string, request: object): Promise<T> {
  const { device } = placeIn(entry, layer).place;
  return entry.runner.converse(device.name, async (ask) => {
    const answer = (await ask({ op: "compact", layer, ...request }, ANSWER_MS)) as T & Refusal;
    const { error } = answer;
    if (error === undefined) return answer;
    const facts = { stack: entry.name, layer };
    if (typeof error === "string") throw new StackError("bad-request", `layer "${layer}": ${error}`, facts);
    const { code = "", message = "it gave no reason" } = error;
    throw new StackError(isErrorCode(code) ? code : "internal", `layer "${layer}": ${message}`, facts);
  });
}

/** @throws StackError unknown-layer, not-an-image, server-died, and the server's refusal */
export const beginCompaction = (entry: StackEntry, layer: string): Promise<CompactionBegun> =>
  demand(entry, layer, { verb: "begin" });

/** @throws StackError as beginCompaction(); why it has ended, unless it is done */
export const lookAtCompaction = (entry: StackEntry, layer: string, number: number): Promise<Compaction> =>
  demand(entry, layer, { verb: "result", number });

export const stopCompaction = (entry: StackEntry, layer: string, number: number): Promise<object> =>
  demand(entry, layer, { verb: "stop", number });
