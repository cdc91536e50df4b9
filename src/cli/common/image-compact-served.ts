/** The image of a layer that is served, made smaller by its server, while clients go on using it. */

import { statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { StackError } from "../../errors.js";
import type { CompactProgress } from "../../native.js";
import { openController } from "../../reconcile/client.js";
import type { Compacted } from "./image-compact.js";
import type { ImageTarget } from "./image-target.js";

/** From the first question to the slowest. */
const POLL_MS = { first: 5, most: 250 };

/** Of the file that the layer lies on: its length, and what it takes up. */
function sizes(path: string): [fileBytes: number, diskBytes: number] {
  const { size = 0, blocks = 0 } = statSync(path, { throwIfNoEntry: false }) ?? {};
  return [size, blocks * 512];
}

/**
 * @returns null when no server serves the layer
 * @throws StackError as ControllerClient.beginCompaction()
 */
export async function compactServed(
  target: ImageTarget,
  signal: AbortSignal,
  tell: (progress: CompactProgress) => void,
): Promise<Compacted | null> {
  if (target.layer === null) return null;
  const { stack, name } = target.layer;
  const client = await openController({ start: "ifStacks" });
  if (client === null) return null;
  const [fileBefore, diskBefore] = sizes(target.path);
  const { number } = await client.beginCompaction(stack, name);
  const stop = () => void client.stopCompaction(stack, name, number).catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    for (let pause = POLL_MS.first; ; pause = Math.min(2 * pause, POLL_MS.most)) {
      const { state, ...now } = await client.compaction(stack, name, number);
      const { phase = "zeros", doneBytes = 0, totalBytes = 0 } = now;
      if (state === "done") {
        const { zeroBytes = 0, movedBytes = 0, movedTableBytes = 0 } = now;
        const [fileAfter, diskAfter] = sizes(target.path);
        return {
          leaks: 0,
          zeroBytes,
          movedBytes,
          movedTableBytes,
          fileBytes: { before: fileBefore, after: fileAfter },
          diskBytes: { before: diskBefore, after: diskAfter },
        };
      }
      tell({ phase, doneBytes, totalBytes });
      await delay(pause);
    }
  } catch (error) {
    if (signal.aborted && error instanceof StackError) signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
