/** `ublk-stack wait --for=ready|synced NAME`: return when the condition holds; exit 1 when the time is up. */

import { StackError } from "../errors.js";
import type { WaitCondition } from "../reconcile/api.js";
import { openController } from "../reconcile/client.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { reportError, toStackError } from "./common/report.js";
import { checkedName } from "./common/stack-name.js";

const DEFAULT_TIMEOUT_MS: Readonly<Record<WaitCondition, number>> = { ready: 60_000, synced: 86_400_000 };

export async function run({ args, options, terminal, interrupted }: Invocation): Promise<ExitStatus> {
  const [word] = args;
  if ((word === undefined) === (options.all !== true)) {
    throw new StackError(
      "usage",
      word === undefined ? "no stack was named: give a name or --all" : "--all takes no name",
    );
  }
  const condition: WaitCondition = options.for === "synced" ? "synced" : "ready";
  const timeoutMs = options.timeout ?? DEFAULT_TIMEOUT_MS[condition];
  const client = await openController({ start: "ifStacks" });
  if (client === null) {
    if (options.all === true) return 0;
    throw new StackError("stack-unknown", `there is no stack "${checkedName(word ?? "")}"`);
  }
  const names =
    options.all === true
      ? (await client.list()).items.map(({ metadata }) => metadata.name)
      : [checkedName(word ?? "")];
  const results = await Promise.allSettled(
    names.map(async (name) => {
      await client.wait(name, condition, timeoutMs, { signal: interrupted });
      terminal.out.line(`stack/${name} ${condition}`);
    }),
  );
  let status: ExitStatus = 0;
  for (const result of results) {
    if (result.status === "fulfilled" || interrupted.aborted) continue;
    const failed = reportError(toStackError(result.reason), terminal.err, "ublk-stack wait");
    if (failed > status) status = failed;
  }
  return status;
}
