/** `ublk-stack delete FILE|NAME…`: take stacks down, last named first; data files stay where they are. */

import { StackError } from "../errors.js";
import { type ControllerClient, openController } from "../reconcile/client.js";
import { changeSignal, follow } from "./common/change.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { createProgress } from "./common/progress.js";
import { reportError, toStackError } from "./common/report.js";
import { meansFile } from "./common/stack-files.js";
import { checkedName } from "./common/stack-name.js";

const DEFAULT_TIMEOUT_MS = 120_000;

/** Loads the parser of stack files, which names alone do not need. */
async function stacksOf(invocation: Invocation) {
  const { acceptedStacks } = await import("./common/stacks.js");
  return await acceptedStacks(invocation);
}

/** Names in the order of deletion; null when a file is refused. */
async function namesToDelete(
  invocation: Invocation,
  client: ControllerClient | null,
): Promise<readonly string[] | null> {
  const { args, options } = invocation;
  if (options.all === true) {
    if (args.length > 0) throw new StackError("usage", "--all takes no names: it means every stack");
    const items = client === null ? [] : (await client.list()).items;
    return items.map(({ metadata }) => metadata.name);
  }
  if (args.length === 0) throw new StackError("usage", "no stack was named: give a name, a file, or --all");
  const fromFlags = new Set(options.filename ?? []);
  const files = args.filter((word) => fromFlags.has(word) || meansFile(word));
  const names = args.filter((word) => !files.includes(word)).map(checkedName);
  const stacks = files.length === 0 ? [] : await stacksOf({ ...invocation, args: files });
  if (stacks === null) return null;
  return [...new Set([...names, ...stacks.map(({ spec }) => spec.name)])].reverse();
}

async function deleteOne(client: ControllerClient, name: string, invocation: Invocation): Promise<void> {
  const { options, terminal, interrupted } = invocation;
  const { force = false, wait = true, timeout: timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const events = client.delete(name, { force, timeoutMs, signal: changeSignal(interrupted, timeoutMs) });
  if (wait) {
    await follow(events, await createProgress(name, terminal.err, true));
  } else {
    // The first event says that the change has begun; the controller ends it without us.
    await events.next();
    await events.return();
  }
  const word = wait ? "deleted" : "deletion begun";
  terminal.out.line(
    options.output === "name" ? `stack/${name}` : `stack/${name} ${terminal.out.colors.red(word)}`,
  );
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const { options, terminal, interrupted } = invocation;
  const client = await openController({ start: "ifStacks" });
  const names = await namesToDelete(invocation, client);
  if (names === null) return 2;
  if (names.length === 0) {
    terminal.err.line("No stacks.");
    return 0;
  }
  let status: ExitStatus = 0;
  for (const name of names) {
    try {
      if (client === null) throw new StackError("stack-unknown", `there is no stack "${name}"`);
      await deleteOne(client, name, invocation);
    } catch (thrown) {
      if (interrupted.aborted) {
        terminal.err.line(`interrupted; the controller goes on with stack/${name}: ublk-stack status`);
        return 1;
      }
      const error = toStackError(thrown);
      if (error.code === "stack-unknown" && options.ignoreNotFound === true) continue;
      const failed = reportError(error, terminal.err, "ublk-stack delete");
      if (failed > status) status = failed;
    }
  }
  return status;
}
