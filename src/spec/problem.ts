/** A problem is a finding with its place in the text: what people and editors can go to. */

import type { ErrorCode } from "../errors.js";
import type { Finding, Severity } from "./finding.js";
import type { SourceMap, Span } from "./source.js";

export interface Problem {
  code: ErrorCode;
  severity: Severity;
  /** One sentence without a full stop. */
  message: string;
  file: string;
  /** From 1. */
  line: number;
  /** From 1, in characters. */
  column: number;
  /** Characters at fault on that line, at least 1. */
  length: number;
  /** As it follows the word "expected". */
  expected?: string;
  /** The nearest valid text. */
  suggestion?: string;
  hint?: string;
}

/** What a problem says, apart from where. */
export type Remark = Omit<Finding, "path" | "at">;

/** Puts a remark to its place in the text. */
export function problemAt(file: string, span: Span, remark: Remark): Problem {
  const { code, severity, message, expected, suggestion, hint } = remark;
  return {
    code,
    severity,
    message,
    file,
    ...span,
    ...(expected === undefined ? {} : { expected }),
    ...(suggestion === undefined ? {} : { suggestion }),
    ...(hint === undefined ? {} : { hint }),
  };
}

/** Problems that are told of one document: whoever has more starts with these. */
const PROBLEMS_MAX = 100;

/** Gives findings about one document their places in its text, ordered as in the text, each said once. */
export function toProblems(findings: readonly Finding[], source: SourceMap): Problem[] {
  return orderProblems(
    withinLimit(findings).map((finding) =>
      problemAt(source.file, source.locate(finding.path, finding.at), finding),
    ),
  );
}

/** The first remarks, errors before warnings; the last of them says how many are left out, if any are. */
export function withinLimit<R extends Remark>(remarks: readonly R[]): R[] {
  const rest = remarks.length - PROBLEMS_MAX;
  if (rest <= 0) return [...remarks];
  const errors = remarks.filter(({ severity }) => severity === "error");
  const warnings = remarks.filter(({ severity }) => severity === "warning");
  const told = [...errors, ...warnings].slice(0, PROBLEMS_MAX);
  const last = told.pop();
  return last === undefined ? told : [...told, { ...last, hint: `${rest} more are not shown` }];
}

/** By place; the same remark at the same place (a part that is used twice through an alias) is said once. */
export function orderProblems(problems: readonly Problem[]): Problem[] {
  const once = new Map(
    problems.map((problem) => [
      `${problem.line}:${problem.column}:${problem.code}:${problem.message}`,
      problem,
    ]),
  );
  return [...once.values()].sort((a, b) => a.line - b.line || a.column - b.column);
}
