/** `ublk-stack explain NAME`: where each layer runs, by which engine, and why not a better one. */

import { StackError } from "../errors.js";
import { openController } from "../reconcile/client.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { checkedName } from "./common/stack-name.js";
import { isStructured, printValue } from "./common/structured.js";
import { explain, renderExplanation } from "./render/explain.js";

export async function run({ args, options, terminal, interrupted }: Invocation): Promise<ExitStatus> {
  const name = checkedName(args[0] ?? "");
  const client = await openController({ start: "ifStacks" });
  if (client === null) throw new StackError("stack-unknown", `there is no stack "${name}"`);
  const signal = interrupted;
  const [item, { table }] = await Promise.all([
    client.get(name, { signal }),
    client.describe(name, { signal }),
  ]);
  const explanation = explain(table, item);
  if (isStructured(options.output)) await printValue(explanation, options.output, terminal.out);
  else terminal.out.write(renderExplanation(explanation, terminal.out.colors));
  return 0;
}
