/** Snapshots inside the image of a layer that is being served: listed, taken, applied and deleted by its server. */

import { setTimeout as delay } from "node:timers/promises";
import type { Table } from "../compile/table.js";
import { isErrorCode, StackError } from "../errors.js";
import type { Ask } from "./control-channel.js";
import type { Snapshot, SnapshotList, SnapshotReply, SnapshotRequest } from "./snapshot-schema.js";
import { findAbove, type LayerPlace, usersOf } from "./snapshot-users.js";
import type { StackEntry } from "./stack-entry.js";

/** A server answers from a thread of its own, whatever its queues do. */
const ANSWER_MS = 10_000;
/** From the first question after the end to the slowest. */
const POLL_MS = { first: 2, most: 250 };
/** A client that has just gone is counted for a moment longer. */
const LEAVING_MS = 1_000;

interface Answer extends Partial<SnapshotList> {
  readonly error?: { readonly code?: string; readonly message?: string } | string;
  readonly number?: number;
  readonly state?: "under-way" | "done";
  readonly snapshot?: Snapshot;
}

/** @throws StackError unknown-layer, not-an-image */
export function findImageLayer(stack: string, layer: string, table: Table): LayerPlace {
  const places = table.devices.flatMap((device) =>
    device.layers.flatMap(({ name }, index) => (name === layer ? [{ device, index }] : [])),
  );
  const typeOf = ({ device, index }: LayerPlace) => device.layers[index]?.type ?? "";
  const [first] = places;
  if (first === undefined) {
    const names = new Set(table.devices.flatMap(({ layers }) => layers.map(({ name }) => name)));
    const message = `stack "${stack}" has no layer "${layer}"; it has ${[...names].join(", ")}`;
    throw new StackError("unknown-layer", message, { stack, layer });
  }
  const image = places.find((place) => typeOf(place) === "qcow2");
  if (image !== undefined) return image;
  const message = `layer "${layer}" of stack "${stack}" is of type ${typeOf(first)}: only qcow2 has snapshots`;
  throw new StackError("not-an-image", message, { stack, layer });
}

/** @throws StackError unknown-layer, not-an-image, state-corrupt */
export function placeIn(entry: StackEntry, layer: string): { place: LayerPlace; table: Table } {
  const { stored, name } = entry;
  if (stored === null) throw new StackError("state-corrupt", entry.trouble() ?? `stack "${name}"`);
  return { place: findImageLayer(name, layer, stored.table), table: stored.table };
}

/** @throws StackError the server's refusal, with the layer's name */
async function demand(ask: Ask, entry: StackEntry, layer: string, request: object): Promise<Answer> {
  const answer = (await ask({ op: "snapshot", layer, ...request }, ANSWER_MS)) as Answer;
  const { error } = answer;
  if (error === undefined) return answer;
  const facts = { stack: entry.name, layer };
  if (typeof error === "string") throw new StackError("bad-request", `layer "${layer}": ${error}`, facts);
  const { code = "", message = "it gave no reason" } = error;
  throw new StackError(isErrorCode(code) ? code : "internal", `layer "${layer}": ${message}`, facts);
}

/** @throws StackError unknown-layer, not-an-image, server-died */
export async function listSnapshots(entry: StackEntry, layer: string): Promise<SnapshotList> {
  const { device } = placeIn(entry, layer).place;
  return entry.runner.converse(device.name, async (ask) => {
    const { snapshots = [], underWay = null } = await demand(ask, entry, layer, { verb: "list" });
    return { snapshots, underWay };
  });
}

/** The bytes change under whoever uses the layer. @throws StackError snapshot-refused, device-in-use */
async function refuseApply(entry: StackEntry, layer: string, force: boolean): Promise<void> {
  const { place, table } = placeIn(entry, layer);
  const above = findAbove(table, place);
  const [rigid] = above.remembering;
  if (rigid !== undefined) {
    const message = `layer "${rigid.name}" of type ${rigid.type} stands on "${layer}" and relies on what it has put or seen there`;
    throw new StackError("snapshot-refused", message, {
      stack: entry.name,
      layer,
      hint: `delete the stack and apply the snapshot with qemu-img, if "${rigid.name}" may find other bytes`,
    });
  }
  if (force) return;
  const end = performance.now() + LEAVING_MS;
  for (;;) {
    const users = usersOf(above, await entry.runner.view(entry.runner.context.target, true));
    if (users.length === 0) return;
    if (performance.now() > end) {
      const message = `the bytes of layer "${layer}" would change under its users: ${users.join(", ")}`;
      throw new StackError("device-in-use", message, {
        stack: entry.name,
        layer,
        hint: "--force applies it all the same; what users have cached or mounted is wrong afterwards",
      });
    }
    await delay(LEAVING_MS / 10);
  }
}

/** A change that was begun and not seen to end: nobody may take it for failed. */
function unseen(entry: StackEntry, layer: string, { verb, name }: SnapshotRequest, error: unknown): unknown {
  if (!(error instanceof StackError)) return error;
  const message = `${verb} of snapshot "${name}" has begun, and may have been done: ${error.message}`;
  const hint = `ublk-stack snapshot ${entry.name}/${layer} list`;
  return new StackError(error.code, message, { ...error.details, hint }, { cause: error });
}

/**
 * Returns when it is done, durably.
 * @param end when to stop waiting, as performance.now() counts
 * @throws StackError snapshot-unknown, snapshot-exists and others, then nothing has changed; timeout and io-error say
 *   whether that is known
 */
export async function changeSnapshots(
  entry: StackEntry,
  layer: string,
  request: SnapshotRequest,
  end: number,
): Promise<SnapshotReply> {
  const { verb, name, force = false } = request;
  const { device } = placeIn(entry, layer).place;
  if (verb === "apply") await refuseApply(entry, layer, force);
  if (performance.now() > end) {
    const message = `another change of stack "${entry.name}" took longer than this one may: nothing was done`;
    throw new StackError("timeout", message, { stack: entry.name, layer });
  }
  return entry.runner.converse(device.name, async (ask) => {
    const watched: Ask = (question, waitMs) =>
      ask(question, waitMs).catch((error: unknown) => Promise.reject(unseen(entry, layer, request, error)));
    const { number } = await demand(watched, entry, layer, { verb, name });
    for (let pause = POLL_MS.first; ; pause = Math.min(2 * pause, POLL_MS.most)) {
      const { state, snapshot = null } = await demand(watched, entry, layer, { verb: "result", number });
      if (state === "done") return { snapshot };
      if (performance.now() > end) {
        const late = new StackError("timeout", "the wait for its end ran out");
        throw unseen(entry, layer, request, late);
      }
      await delay(pause);
    }
  });
}
