/** An image that nobody uses, made as small as it can be: for as long as that takes nobody else can begin to. */

import { StackError } from "../../errors.js";
import { type CompactProgress, type ImageCompacted, loadNative, type Native } from "../../native.js";
import { keptTables } from "../../reconcile/kept-tables.js";
import { clean } from "../render/clean.js";
import { isNativeError, noImage, toStackError } from "./image-session.js";
import type { ImageTarget } from "./image-target.js";

/** What was done, whoever did it. */
export type Compacted = Omit<ImageCompacted, "header" | "refusal">;

const PROGRESS_MS = 200;

function inUseError({ name }: ImageTarget): StackError {
  return new StackError("path-in-use", `${name} is in use by a server or another program`, {
    hint: "compact it when nobody uses it, or as STACK/LAYER by its server",
  });
}

function explain(error: unknown, target: ImageTarget): unknown {
  if (!isNativeError(error)) return error;
  const { name } = target;
  if (error.code === "EAGAIN" || error.code === "EBUSY") return inUseError(target);
  if (error.code === "EOPNOTSUPP") {
    return new StackError(
      "image-refused",
      `${name} has its data in another file, where nothing can be moved`,
    );
  }
  if (error.code === "EUCLEAN") {
    return new StackError(
      "image-corrupt",
      `${name} contradicts itself; it was left as it is where that was found`,
    );
  }
  return toStackError(error, target);
}

/** What a killed server has left for its successor would be of another image afterwards. One that serves has it, too. */
async function refuseKept(native: Native, target: ImageTarget): Promise<void> {
  const [kept] = keptTables(target.path);
  if (kept === undefined) return;
  const { handle, inUse } = await native.imageOpen(target.path);
  native.imageClose(handle);
  if (inUse) throw inUseError(target);
  throw new StackError(
    "path-in-use",
    `${target.name}: stack "${kept.stack}" has tables of it that a killed server had not written yet`,
    { hint: "apply the stack, so that they are written, and delete it or compact the image then" },
  );
}

/**
 * @param tell called now and then while it goes on
 * @throws StackError path-in-use, image-corrupt, image-refused, not-an-image, no-space and as other looks at images
 */
export async function compactImage(
  target: ImageTarget,
  signal: AbortSignal,
  tell: (progress: CompactProgress) => void,
): Promise<ImageCompacted> {
  const native = loadNative();
  try {
    await refuseKept(native, target);
  } catch (error) {
    throw explain(error, target);
  }
  const compacting = native.imageCompact(target.path, !target.fixedLength);
  const stop = () => compacting.stop();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const timer = setInterval(() => tell(compacting.progress()), PROGRESS_MS);
  try {
    const done = await compacting.done;
    const { header, refusal } = done;
    if (header.kind !== "qcow2") throw noImage(header, target);
    if (refusal !== null) {
      throw new StackError("image-corrupt", `${target.name} is broken, and left as it is: ${clean(refusal)}`);
    }
    return done;
  } catch (error) {
    throw explain(error, target);
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", stop);
  }
}
