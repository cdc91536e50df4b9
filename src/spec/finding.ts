/**
 * A finding is one thing to say about a document, addressed by the place in the document rather than in the text:
 * the pure stages (spec, layers, compile) know paths, and only the reader of the text knows lines and columns.
 */

import type { ErrorCode } from "../errors.js";

/** Keys and indexes from the root of one document: ["spec", "layers", "wide", "stripe", "members", 0]. */
export type DocPath = readonly (string | number)[];

export type Severity = "error" | "warning";

export interface Finding {
  /** Where; a path that is not in the document means its nearest ancestor that is (a missing key). */
  path: DocPath;
  /** Whether the key at the end of the path is at fault, or what it holds. */
  at: "key" | "value";
  code: ErrorCode;
  severity: Severity;
  /** One sentence without a full stop that names the thing at fault: `layer "wide" has no member "d9"`. */
  message: string;
  /** What would have been right, as it follows the word "expected": `a power of two, at least 4KiB`. */
  expected?: string;
  /** The nearest valid text, to be written instead. */
  suggestion?: string;
  /** What else helps: a cause, a consequence, a way out. */
  hint?: string;
}

/** Whether any of the findings refuses the document. */
export function hasErrors(findings: readonly { severity: Severity }[]): boolean {
  return findings.some((finding) => finding.severity === "error");
}
