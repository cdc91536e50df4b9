/** A controller of our own in folders of our own: the stacks of a recording and those of the user never meet. */

import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StackError } from "../errors.js";
import { openController } from "../reconcile/client.js";
import { type Paths, resolvePaths } from "../reconcile/paths.js";
import type { StatusItem } from "../reconcile/status-schema.js";
import type { StackDocument } from "../spec/index.js";

const READY_MS = 120_000;

export interface PrivateHost {
  /** Makes it run, and gives its status. */
  apply(spec: object, signal: AbortSignal): Promise<StatusItem>;
  /** Bytes of a layer of what runs. */
  layerBytes(layer: string): Promise<number>;
  /** Takes down what runs. */
  delete(): Promise<void>;
  /** Leaves nothing. */
  close(): Promise<void>;
}

/** @param baseDir where relative paths of the stacks start */
export async function openPrivateHost(baseDir: string): Promise<PrivateHost> {
  const folder = await mkdtemp(join(tmpdir(), "ublk-stack-record-"));
  const [stateDir, runDir] = [join(folder, "state"), join(folder, "run")];
  await mkdir(stateDir, { mode: 0o700 });
  await mkdir(runDir, { mode: 0o700 });
  const env = { ...process.env, UBLK_STACK_STATE_DIR: stateDir, UBLK_STACK_RUN_DIR: runDir };
  const paths: Paths = resolvePaths({ env, uid: process.getuid?.() ?? 0 });
  // Root's exports have names in /dev, which all controllers share.
  const name = `crash-${randomBytes(4).toString("hex")}`;
  let runs = false;

  const deleteStack = async () => {
    if (!runs) return;
    const client = await openController({ start: "always", paths });
    for await (const _ of client.delete(name, { timeoutMs: READY_MS }));
    runs = false;
  };

  return {
    async apply(spec, signal) {
      const document = { apiVersion: "ublk-stack/v1", kind: "Stack", metadata: { name }, spec };
      const client = await openController({ start: "always", paths });
      runs = true;
      const request = { document: document as unknown as StackDocument, baseDir, timeoutMs: READY_MS };
      for await (const event of client.apply(request, { signal })) {
        if (event.event === "done" && event.item !== null) return event.item;
      }
      throw new StackError("stack-failed", "the stack to be recorded did not become ready");
    },
    async layerBytes(layer) {
      const client = await openController({ start: "always", paths });
      const { table } = await client.describe(name);
      const found = table.devices.flatMap(({ layers }) => layers).find((one) => one.name === layer);
      if (found === undefined) throw new StackError("internal", `the stack has no layer "${layer}"`);
      return found.sizeBytes;
    },
    delete: deleteStack,
    async close() {
      try {
        await deleteStack();
      } finally {
        const client = await openController({ start: "never", paths });
        await client?.stop();
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}
