/** `ublk-stack logs NAME`: what servers and controller said about a stack. Needs no controller. */

import { readLogs } from "../reconcile/logs.js";
import type { ExitStatus, Invocation, Since } from "./common/invocation.js";
import { checkedName } from "./common/stack-name.js";
import { renderLogLine } from "./render/log-lines.js";

function sinceMs(since: Since): number {
  return "atMs" in since ? since.atMs : Date.now() - since.agoMs;
}

export async function run({ args, options, terminal, interrupted }: Invocation): Promise<ExitStatus> {
  const name = checkedName(args[0] ?? "");
  const ended = AbortSignal.any([interrupted, terminal.outputGone]);
  const lines = readLogs(name, {
    follow: options.follow === true,
    signal: ended,
    ...(options.since === undefined ? {} : { sinceMs: sinceMs(options.since) }),
    ...(options.tail === undefined ? {} : { tail: options.tail }),
  });
  for await (const line of lines) {
    if (ended.aborted) break;
    terminal.out.line(
      options.output === "json" ? JSON.stringify(line) : renderLogLine(line, terminal.out.colors),
    );
  }
  return 0;
}
