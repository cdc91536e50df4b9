/** Holds a document against the published schema, fills in its defaults, and says in our words what does not fit. */

import type { ErrorObject } from "ajv/dist/2020.js";
import type { Finding } from "./finding.js";
import { STACK_SCHEMA } from "./schema.gen.js";
import { schemaFindings } from "./schema-findings.js";
import type { StackDocument } from "./spec.gen.js";
import generated from "./validate.gen.js";

/** What schema/validator.mjs makes; ajv itself is not loaded. */
interface Validate {
  (document: unknown): document is StackDocument;
  errors: ErrorObject[] | null;
}
const validate = generated as unknown as Validate;

export interface SchemaCheck {
  /** The document with every default filled in, or null if it does not fit the schema. */
  document: StackDocument | null;
  findings: Finding[];
}

/** @param value plain JSON, not nested deeper than NESTING_MAX; it is not changed */
export function checkSchema(value: unknown): SchemaCheck {
  const document: unknown = structuredClone(value);
  if (validate(document)) return { document, findings: [] };
  const errors: ErrorObject[] = validate.errors ?? [];
  return { document: null, findings: schemaFindings(errors, document, STACK_SCHEMA) };
}
