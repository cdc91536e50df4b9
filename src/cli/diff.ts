/** `ublk-stack diff FILE…`: what apply would do. 0 nothing, 1 something, 2 it could not be told. */

import { hasChanges } from "../plan/plan.js";
import { renderPlan } from "../plan/render.js";
import { openController } from "../reconcile/client.js";
import { hasErrors } from "../spec/index.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { reportError, toStackError } from "./common/report.js";
import { acceptedStacks, findingsOf, printFindings, printRefusal } from "./common/stacks.js";
import { isStructured, printValue } from "./common/structured.js";

async function diffAll(invocation: Invocation): Promise<ExitStatus> {
  const { options, terminal, interrupted } = invocation;
  const stacks = await acceptedStacks(invocation);
  if (stacks === null) return 2;
  const client = await openController({ start: "always" });
  const plans: unknown[] = [];
  let changes = false;
  let refused = false;
  for (const stack of stacks) {
    try {
      const { plan, table, findings } = await client.diff(
        { document: { ...stack.document }, baseDir: stack.file.baseDir },
        { signal: interrupted },
      );
      printFindings(stack, findings, terminal.err);
      changes ||= hasChanges(plan);
      plans.push({ stack: stack.spec.name, changes: hasChanges(plan), ...plan });
      if (isStructured(options.output)) continue;
      terminal.out.write(
        renderPlan(stack.spec.name, table, plan, { color: terminal.out.colors.isColorSupported }),
      );
    } catch (error) {
      if (!hasErrors(findingsOf(error))) throw error;
      printFindings(stack, findingsOf(error), terminal.err);
      printRefusal(`stack/${stack.spec.name}`, terminal.err);
      refused = true;
    }
  }
  if (isStructured(options.output)) await printValue({ changes, plans }, options.output, terminal.out);
  if (refused) return 2;
  return changes ? 1 : 0;
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  try {
    return await diffAll(invocation);
  } catch (thrown) {
    if (invocation.interrupted.aborted) throw thrown;
    // 1 would say that there are differences.
    reportError(toStackError(thrown), invocation.terminal.err, "ublk-stack diff");
    return 2;
  }
}
