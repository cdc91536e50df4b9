/** `ublk-stack doctor`: look at the host, say what is well and how to mend what is not. Exits 1 when something is bad. */

import type { ExitStatus, Invocation } from "./common/invocation.js";
import { isStructured, printValue } from "./common/structured.js";
import type { Colors, Sink } from "./common/terminal.js";
import { type Check, examine, type Level } from "./doctor/checks.js";
import { gatherFacts } from "./doctor/gather.js";

function levelText(level: Level, { green, yellow, red }: Colors): string {
  return { ok: green("ok  "), warn: yellow("warn"), bad: red("bad ") }[level];
}

function printCheck(check: Check, verbose: boolean, sink: Sink): void {
  const { colors } = sink;
  sink.line(`${levelText(check.level, colors)}  ${check.finding}`);
  if (check.cure !== undefined) sink.line(`      ${colors.cyan("cure:")} ${check.cure}`);
  if (!verbose || check.detail === undefined) return;
  for (const line of check.detail.split("\n")) sink.line(`      ${colors.dim(line.trimStart())}`);
}

export async function run({ options, terminal, env }: Invocation): Promise<ExitStatus> {
  const facts = await gatherFacts(env);
  const checks = examine(facts);
  const healthy = checks.every(({ level }) => level !== "bad");
  if (isStructured(options.output)) {
    await printValue({ healthy, checks, facts }, options.output, terminal.out);
  } else {
    for (const check of checks) printCheck(check, options.verbose === true, terminal.out);
  }
  return healthy ? 0 : 1;
}
