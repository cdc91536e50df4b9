/** `ublk-stack status [NAME]`: what the controller observes now. */

import { setTimeout as delay } from "node:timers/promises";
import { StackError } from "../errors.js";
import { openController } from "../reconcile/client.js";
import type { StatusItem } from "../reconcile/status-schema.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { checkedName } from "./common/stack-name.js";
import { isStructured, printValue } from "./common/structured.js";
import { renderStatusItem, renderStatusTable } from "./render/status.js";

const WATCH_MS = 1000;
const CLEAR_SCREEN = "\u001b[H\u001b[2J\u001b[3J";

async function itemsOf(name: string | undefined, signal: AbortSignal): Promise<readonly StatusItem[]> {
  const client = await openController({ start: "ifStacks" });
  if (name === undefined) return client === null ? [] : (await client.list({ signal })).items;
  if (client === null) throw new StackError("stack-unknown", `there is no stack "${name}"`);
  return [await client.get(name, { signal })];
}

async function print(
  items: readonly StatusItem[],
  one: boolean,
  { options, terminal }: Invocation,
): Promise<void> {
  const { out, err } = terminal;
  if (isStructured(options.output)) {
    await printValue({ apiVersion: "ublk-stack/v1", kind: "List", items }, options.output, out);
  } else if (options.output === "name") {
    for (const { metadata } of items) out.line(`stack/${metadata.name}`);
  } else if (items.length === 0) {
    err.line("No stacks. `ublk-stack apply FILE` makes one.");
  } else if (one && options.output !== "wide") {
    for (const item of items) out.write(renderStatusItem(item, out.colors));
  } else {
    out.write(renderStatusTable(items, options.output === "wide", out.colors));
  }
}

async function watch(name: string | undefined, invocation: Invocation): Promise<void> {
  const { terminal, interrupted } = invocation;
  const ended = AbortSignal.any([interrupted, terminal.outputGone]);
  let shown = "";
  while (!ended.aborted) {
    const items = await itemsOf(name, ended);
    const now = JSON.stringify(items);
    if (now !== shown) {
      if (terminal.out.isTerminal) terminal.out.write(CLEAR_SCREEN);
      await print(items, name !== undefined, invocation);
      shown = now;
    }
    await delay(WATCH_MS, undefined, { signal: ended });
  }
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const { args, options, terminal, interrupted } = invocation;
  const name = args[0] === undefined ? undefined : checkedName(args[0]);
  if (options.watch !== true) {
    await print(await itemsOf(name, interrupted), name !== undefined, invocation);
    return 0;
  }
  try {
    await watch(name, invocation);
  } catch (error) {
    if (!terminal.outputGone.aborted) throw error;
  }
  return 0;
}
