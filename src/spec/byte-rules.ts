/** The schema's `x-bytes`: what it says about a size beyond being one. */

import { formatSize, parseSize } from "./size.js";
import type { Size } from "./spec.gen.js";

/** What `x-bytes` says about a size beyond being one. */
interface ByteRules {
  /** Bytes. */
  minimum?: number;
  maximum?: number;
  powerOfTwo?: boolean;
  /** Bytes, or the option beside this one that holds them. */
  multipleOf?: number | string;
}

/** A rule that a size breaks, as x-bytes reports it: the error's params. */
export interface BrokenByteRule {
  rule: "size" | "minimum" | "maximum" | "powerOfTwo" | "multipleOf";
  /** What would have been right. */
  expected: string;
  /** The nearest valid size. */
  suggestion: string | null;
}

/** Called by validate.gen.ts. Null for a size that keeps the rules. */
export function brokenByteRule(
  rules: ByteRules,
  size: Size,
  siblings: Record<string, unknown>,
): BrokenByteRule | null {
  const bytes = parseSize(size);
  if (bytes === null) {
    // The schema's own pattern and range have said so already, unless unit and number are only together too much.
    const tooLarge = typeof size === "string" && /^[1-9][0-9]*[KMGT]iB$/.test(size);
    return tooLarge ? { rule: "size", expected: "less than 8192TiB", suggestion: null } : null;
  }
  const { minimum, maximum, powerOfTwo, multipleOf } = rules;
  if (minimum !== undefined && bytes < minimum) {
    return { rule: "minimum", expected: `at least ${formatSize(minimum)}`, suggestion: formatSize(minimum) };
  }
  if (maximum !== undefined && bytes > maximum) {
    return { rule: "maximum", expected: `at most ${formatSize(maximum)}`, suggestion: formatSize(maximum) };
  }
  if (powerOfTwo && !Number.isInteger(Math.log2(bytes))) {
    const floor = minimum === undefined ? "" : `, at least ${formatSize(minimum)}`;
    const closest = 2 ** Math.round(Math.log2(bytes));
    return { rule: "powerOfTwo", expected: `a power of two${floor}`, suggestion: formatSize(closest) };
  }
  const unit = typeof multipleOf === "string" ? siblings[multipleOf] : multipleOf;
  // An option that is no power of two breaks a rule of its own.
  if (typeof unit === "number" && Number.isInteger(Math.log2(unit)) && bytes % unit !== 0) {
    const name = typeof multipleOf === "string" ? `${multipleOf} ` : "";
    return {
      rule: "multipleOf",
      expected: `a multiple of ${name}${formatSize(unit)}`,
      suggestion: formatSize(Math.ceil(bytes / unit) * unit),
    };
  }
  return null;
}
