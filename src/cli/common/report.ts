/**
 * How a failure is said: what, where, and what to do about it; on standard error, once.
 *
 *     error: the stack "demo" did not become ready: ... [stack-failed]
 *       cure: `ublk-stack status demo` names the layer, ...
 */

import { StackError } from "../../errors.js";
import type { ExitStatus } from "./invocation.js";
import type { Sink } from "./terminal.js";

/** Anything that was thrown, as one of our errors; what is not ours is "internal" and keeps its stack trace. */
export function toStackError(thrown: unknown): StackError {
  if (thrown instanceof StackError) return thrown;
  if (thrown instanceof Error) {
    return new StackError("internal", thrown.message, { trace: thrown.stack }, { cause: thrown });
  }
  return new StackError("internal", String(thrown));
}

function textOf(details: StackError["details"], key: string): string | null {
  const value = details[key];
  return typeof value === "string" && value !== "" ? value : null;
}

/**
 * @param subject the command whose --help is recommended on bad usage: "ublk-stack" or "ublk-stack apply"
 */
export function reportError(error: StackError, sink: Sink, subject: string): ExitStatus {
  const { bold, red, dim, cyan } = sink.colors;
  const { code, details } = error;
  sink.line(`${bold(red("error:"))} ${bold(error.message)}${code === "usage" ? "" : ` ${dim(`[${code}]`)}`}`);
  const suggestion = textOf(details, "suggestion");
  if (suggestion !== null) sink.line(`  ${cyan("did you mean")} ${bold(suggestion)}${cyan("?")}`);
  const hint = textOf(details, "hint");
  if (hint !== null) sink.line(`  ${cyan("hint:")} ${hint}`);
  const cure = code === "usage" ? `\`${subject} --help\` lists arguments and options` : error.cure;
  sink.line(`  ${cyan("cure:")} ${cure.replace(/\.$/, "")}`);
  if (code === "internal") {
    const trace = textOf(details, "trace");
    if (trace !== null) sink.line(dim(trace));
  }
  return error.exitCode;
}
