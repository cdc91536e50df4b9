/** `ublk-stack set STACK LAYER KEY=VALUE…`: other settings for a layer that runs, until its file is applied again. */

import { StackError } from "../errors.js";
import type { Plan } from "../plan/plan.js";
import { openController } from "../reconcile/client.js";
import { checkDocument, type Finding, hasErrors, type StackDocument, withOption } from "../spec/index.js";
import { changeSignal, follow } from "./common/change.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { createProgress } from "./common/progress.js";
import { checkedName } from "./common/stack-name.js";

const TIMEOUT_MS = 60_000;

function edited(document: StackDocument, stack: string, layer: string, word: string): StackDocument {
  const at = word.indexOf("=");
  if (at < 1) throw new StackError("usage", `"${word}" is not KEY=VALUE`);
  const [key, value] = [word.slice(0, at), word.slice(at + 1)];
  const result = withOption(document, { layer, key, value });
  if (!("subject" in result)) return result;
  throw result.subject === "layer"
    ? new StackError("usage", `stack "${stack}" has no layer "${layer}"`)
    : new StackError("usage", `the value of "${word}" is not YAML`);
}

function sentence({ message, expected, suggestion, hint, path }: Finding): string {
  const place = path.slice(-1).join("");
  const more = [
    expected === undefined ? "" : `; expected ${expected}`,
    suggestion === undefined ? "" : `; did you mean ${suggestion}?`,
    hint === undefined ? "" : ` (${hint})`,
  ];
  return `${place}: ${message}${more.join("")}`;
}

/** What would have to restart is no setting, and belongs into the file. */
function refuseMore(plan: Plan, layer: string): void {
  const more = plan.actions.find(({ kind }) => kind !== "none" && kind !== "adopt" && kind !== "adjust");
  if (more === undefined) return;
  const paths = more.changes.map(({ path }) => path).join(", ");
  throw new StackError(
    "not-adjustable",
    `layer "${layer}" cannot take this while it runs${paths === "" ? "" : ` (${paths})`}: it would ${more.kind} device "${more.device}"`,
  );
}

export async function run({ args, terminal, interrupted }: Invocation): Promise<ExitStatus> {
  const [stack, layer, ...words] = args;
  if (stack === undefined || layer === undefined || words.length === 0) {
    throw new StackError("usage", "say a stack, a layer, and at least one KEY=VALUE");
  }
  const client = await openController({ start: "ifStacks" });
  if (client === null) throw new StackError("stack-unknown", `there is no stack "${checkedName(stack)}"`);
  const { document, baseDir } = await client.describe(checkedName(stack), { signal: interrupted });
  const wanted = words.reduce((made, word) => edited(made, stack, layer, word), document);
  const { findings } = checkDocument(wanted);
  if (hasErrors(findings)) {
    for (const finding of findings.filter(({ severity }) => severity === "error"))
      terminal.err.line(`error: ${sentence(finding)} [${finding.code}]`);
    return 2;
  }
  const request = { document: wanted, baseDir };
  refuseMore((await client.diff(request, { signal: interrupted })).plan, layer);
  const events = client.apply(
    { ...request, timeoutMs: TIMEOUT_MS },
    { signal: changeSignal(interrupted, TIMEOUT_MS) },
  );
  const { done } = await follow(events, await createProgress(stack, terminal.err, true));
  const { green, dim } = terminal.out.colors;
  terminal.out.line(
    `stack/${stack} ${layer} ${done.result === "unchanged" ? dim("unchanged") : green("set")}`,
  );
  return 0;
}
