/** `ublk-stack apply FILE…`: hand each stack to the controller, follow what it does, say where the exports are. */

import type { Plan } from "../plan/plan.js";
import { renderPlan } from "../plan/render.js";
import { type ControllerClient, openController } from "../reconcile/client.js";
import type { StatusItem } from "../reconcile/status-schema.js";
import { hasErrors } from "../spec/index.js";
import { changeSignal, type Followed, follow } from "./common/change.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { createProgress } from "./common/progress.js";
import { reportError, toStackError } from "./common/report.js";
import {
  acceptedStacks,
  findingsOf,
  type LoadedStack,
  printFindings,
  printRefusal,
} from "./common/stacks.js";
import { isStructured, printValue } from "./common/structured.js";
import { whereText } from "./render/status.js";

const DEFAULT_TIMEOUT_MS = 120_000;

/**
 * Several stacks: all are checked against the host before the first is touched, so that a refused one leaves
 * everything as it was.
 * @returns whether all may be applied; what was wrong has been printed
 */
async function preflight(
  client: ControllerClient,
  stacks: readonly LoadedStack[],
  invocation: Invocation,
): Promise<boolean> {
  let accepted = true;
  for (const stack of stacks) {
    try {
      await client.diff(
        { document: { ...stack.document }, baseDir: stack.file.baseDir },
        { signal: invocation.interrupted },
      );
    } catch (error) {
      if (!hasErrors(findingsOf(error))) throw error;
      printFindings(stack, findingsOf(error), invocation.terminal.err);
      accepted = false;
    }
  }
  return accepted;
}

async function applyOne(
  client: ControllerClient,
  stack: LoadedStack,
  invocation: Invocation,
): Promise<Followed> {
  const { options, terminal, interrupted } = invocation;
  const { wait = true, dryRun = false, timeout: timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const { force = false, allowDataLoss = false, readd = false } = options;
  const progress = await createProgress(stack.spec.name, terminal.err, wait && !dryRun);
  const request = {
    document: { ...stack.document },
    baseDir: stack.file.baseDir,
    dryRun,
    force,
    allowDataLoss,
    readd,
    wait,
    timeoutMs,
  };
  return await follow(client.apply(request, { signal: changeSignal(interrupted, timeoutMs) }), progress);
}

function printResult(
  stack: LoadedStack,
  { done, plan, table }: Followed,
  { options, terminal }: Invocation,
): void {
  const { out } = terminal;
  const { name } = stack.spec;
  if (options.output === "name") {
    out.line(`stack/${name}`);
    return;
  }
  if (done.result === "planned") {
    if (plan !== null)
      out.write(renderPlan(name, table, plan, { color: out.colors.isColorSupported, unchanged: true }));
    return;
  }
  const { green, dim } = out.colors;
  const word = done.result === "unchanged" ? dim(done.result) : green(done.result);
  out.line(
    `stack/${name} ${done.result === "accepted" ? `accepted; follow it with: ublk-stack wait ${name}` : word}`,
  );
  for (const [exported, status] of Object.entries(done.item?.status.exports ?? {})) {
    const device = status.device !== null && status.path !== null ? dim(`  (${status.device})`) : "";
    out.line(`  ${exported}  ${whereText(status)}${device}`);
  }
}

/** What went wrong with one stack; the others are still tried, as kubectl does. */
function printFailure(stack: LoadedStack, thrown: unknown, { terminal, options }: Invocation): ExitStatus {
  const error = toStackError(thrown);
  const findings = findingsOf(error);
  if (findings.length > 0) {
    printFindings(stack, findings, terminal.err);
    if (hasErrors(findings)) {
      printRefusal(`stack/${stack.spec.name}`, terminal.err);
      return 2;
    }
  }
  const { plan } = error.details;
  if (plan !== undefined && !isStructured(options.output)) {
    terminal.err.write(
      renderPlan(stack.spec.name, null, plan as Plan, { color: terminal.err.colors.isColorSupported }),
    );
  }
  return reportError(error, terminal.err, "ublk-stack apply");
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const { options, terminal, interrupted } = invocation;
  const stacks = await acceptedStacks(invocation);
  if (stacks === null) return 2;
  const client = await openController({ start: "always" });
  if (stacks.length > 1 && !(await preflight(client, stacks, invocation))) {
    printRefusal("a stack", terminal.err);
    return 2;
  }

  let status: ExitStatus = 0;
  const items: StatusItem[] = [];
  const plans: unknown[] = [];
  for (const stack of stacks) {
    try {
      const followed = await applyOne(client, stack, invocation);
      printFindings(stack, followed.warnings, terminal.err);
      if (followed.done.item !== null) items.push(followed.done.item);
      plans.push({ stack: stack.spec.name, result: followed.done.result, plan: followed.plan });
      if (!isStructured(options.output)) printResult(stack, followed, invocation);
    } catch (thrown) {
      if (interrupted.aborted) {
        terminal.err.line(
          `interrupted; the controller goes on with stack/${stack.spec.name}: ublk-stack status ${stack.spec.name}`,
        );
        return 1;
      }
      const failed = printFailure(stack, thrown, invocation);
      if (failed > status) status = failed;
    }
  }
  if (isStructured(options.output)) {
    const value = options.dryRun === true ? { plans } : { apiVersion: "ublk-stack/v1", kind: "List", items };
    await printValue(value, options.output, terminal.out);
  }
  return status;
}
