/**
 * `ublk-stack image info|check|map|compact TARGET`: what a disk image is, whether it is whole, where its data lie, and as
 * small as it can be. By the code that serves images; no other file than the image is opened, whatever its header names.
 */

import { StackError } from "../errors.js";
import type { CompactProgress } from "../native.js";
import { type Compacted, compactImage } from "./common/image-compact.js";
import { compactServed } from "./common/image-compact-served.js";
import { type ImageSession, withImage } from "./common/image-session.js";
import { findImage, type ImageTarget } from "./common/image-target.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { isStructured, printValue } from "./common/structured.js";
import { checkStatus, checkValue, renderCheck } from "./render/image-check.js";
import { compactValue, createCompactProgress, renderCompact } from "./render/image-compact.js";
import { type ImageFacts, infoValue, renderInfo } from "./render/image-info.js";
import { MapJoiner, mapValue } from "./render/image-map.js";
import { createMapPrinter } from "./render/image-map-printer.js";

interface Looking extends Invocation {
  readonly target: ImageTarget;
  readonly forced: boolean;
}

function refuseInUse({ name }: ImageTarget, hint: string): StackError {
  return new StackError(
    "path-in-use",
    `${name} is being written to by a server or another program, and its tables change meanwhile`,
    { hint },
  );
}

async function info(
  session: ImageSession,
  { target, forced, options, terminal }: Looking,
): Promise<ExitStatus> {
  const { native, handle, header, inUse, fileBytes, diskBytes } = session;
  // What one write changes is read in one piece; tables are not.
  const details = inUse && !forced ? null : await native.imageDetails(handle);
  const facts: ImageFacts = { path: target.path, header, inUse, fileBytes, diskBytes, details };
  if (isStructured(options.output)) await printValue(infoValue(facts), options.output, terminal.out);
  else terminal.out.write(renderInfo(facts, terminal.out.colors));
  return 0;
}

async function check(session: ImageSession, { target, options, terminal }: Looking): Promise<ExitStatus> {
  const { native, handle, inUse, stop } = session;
  if (inUse) throw refuseInUse(target, "check it when nobody writes to it");
  const report = await native.imageCheck(handle, stop);
  if (isStructured(options.output)) {
    await printValue(checkValue(target.path, report), options.output, terminal.out);
  } else {
    terminal.out.write(renderCheck(report, terminal.out.colors));
  }
  return checkStatus(report);
}

async function map(
  session: ImageSession,
  { target, forced, options, terminal }: Looking,
): Promise<ExitStatus> {
  const { native, handle, header, inUse, stop } = session;
  if (inUse && !forced) {
    throw refuseInUse(
      target,
      "--force-share looks at it all the same; what it shows may be of different moments",
    );
  }
  const joiner = new MapJoiner();
  const printer = createMapPrinter(options.output, header.sizeBytes, terminal.out);
  // Part by part: an image may have more runs than there is memory for.
  for (let from = 0; from < header.sizeBytes && !terminal.outputGone.aborted; ) {
    const { runs, next } = await native.imageMap(handle, from, stop);
    const bad = runs.find(({ kind }) => kind === "bad");
    if (bad !== undefined) {
      throw new StackError(
        "image-corrupt",
        `${target.name} has an entry for the guest's bytes at ${bad.start} that contradicts the format`,
      );
    }
    printer.add(joiner.add(runs.map((run) => mapValue(run, header.backing !== null))));
    await terminal.out.drained();
    from = next;
  }
  printer.end(joiner.end());
  return 0;
}

async function compact(
  target: ImageTarget,
  { options, terminal, interrupted }: Invocation,
): Promise<ExitStatus> {
  const progress = createCompactProgress(terminal.err);
  const tell = (now: CompactProgress) => progress.show(now);
  let done: Compacted;
  try {
    done =
      (await compactServed(target, interrupted, tell)) ?? (await compactImage(target, interrupted, tell));
  } finally {
    progress.end();
  }
  if (isStructured(options.output))
    await printValue(compactValue(target.path, done), options.output, terminal.out);
  else terminal.out.write(renderCompact(target.path, done));
  return 0;
}

const ACTIONS: Readonly<Record<string, (session: ImageSession, looking: Looking) => Promise<ExitStatus>>> = {
  info,
  check,
  map,
};

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const [action = "", word = ""] = invocation.args;
  const act = ACTIONS[action];
  if (act === undefined && action !== "compact") throw new StackError("usage", `image cannot "${action}"`);
  const forced = invocation.options.forceShare === true;
  if (forced && action !== "info" && action !== "map") {
    throw new StackError(
      "usage",
      "an image that is written to can be neither checked nor compacted by others: --force-share is for info and map",
    );
  }
  const { interrupted } = invocation;
  const target = await findImage(word, interrupted);
  if (act === undefined) return await compact(target, invocation);
  return await withImage(target, interrupted, (session) => act(session, { ...invocation, target, forced }));
}
