/** Holds a document against the published schema, fills in its defaults, and says in our words what does not fit. */

import type { KeywordDefinition, SchemaValidateFunction } from "ajv";
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import type { Finding } from "./finding.js";
import { STACK_SCHEMA } from "./schema.gen.js";
import { schemaFindings } from "./schema-findings.js";
import { formatSize, parseSize } from "./size.js";
import type { Size, StackDocument } from "./spec.gen.js";

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

function brokenByteRule(
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

const checkBytes: SchemaValidateFunction = (rules: ByteRules, size: Size, _schema, context) => {
  const broken = brokenByteRule(rules, size, context?.parentData ?? {});
  checkBytes.errors = broken === null ? [] : [{ keyword: "x-bytes", params: broken }];
  return broken === null;
};

const BYTES_KEYWORD: KeywordDefinition = {
  keyword: "x-bytes",
  schemaType: "object",
  validate: checkBytes,
  errors: true,
};

function compileSchema() {
  const ajv = new Ajv2020({
    allErrors: true,
    // Errors carry their schema, from which the messages are made.
    verbose: true,
    useDefaults: true,
    strict: true,
    allowUnionTypes: true,
    // Required keys of a layer's oneOf are properties of the layer around it.
    strictRequired: false,
    keywords: ["errorMessage", "x-error", "x-refused", "x-access", BYTES_KEYWORD],
  });
  return ajv.compile<StackDocument>(STACK_SCHEMA);
}

let compiled: ReturnType<typeof compileSchema> | undefined;

export interface SchemaCheck {
  /** The document with every default filled in, or null if it does not fit the schema. */
  document: StackDocument | null;
  findings: Finding[];
}

/** @param value plain JSON, not nested deeper than NESTING_MAX; it is not changed */
export function checkSchema(value: unknown): SchemaCheck {
  compiled ??= compileSchema();
  const document: unknown = structuredClone(value);
  if (compiled(document)) return { document, findings: [] };
  const errors: ErrorObject[] = compiled.errors ?? [];
  return { document: null, findings: schemaFindings(errors, document, STACK_SCHEMA) };
}
