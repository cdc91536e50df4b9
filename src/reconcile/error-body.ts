/** Errors as messages and back: what is thrown in the controller is thrown again in the client. */

import { isErrorCode, StackError } from "../errors.js";
import type { Finding } from "../spec/finding.js";
import type { ErrorBody } from "./api.js";

/** Findings travel beside the message; everything else of the details as they are. */
export function bodyFromError(error: unknown): ErrorBody {
  if (!(error instanceof StackError)) {
    const message = error instanceof Error ? error.message : String(error);
    return { code: "internal", message, details: {}, findings: [] };
  }
  const { findings, ...details } = error.details;
  return {
    code: error.code,
    message: error.message,
    details,
    findings: (findings as Finding[] | undefined) ?? [],
  };
}

export function errorFromBody({ code, message, details, findings }: ErrorBody): StackError {
  return new StackError(isErrorCode(code) ? code : "internal", message, { ...details, findings });
}

/** A document that is refused: every finding travels with the error. */
export function refusal(stack: string, findings: readonly Finding[]): StackError {
  const [first, ...others] = findings.filter((finding) => finding.severity === "error");
  if (first === undefined) throw new RangeError("a refusal needs an error");
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return new StackError(first.code, `stack "${stack}": ${first.message}${more}`, { findings });
}
