/**
 * The schema as a program: what ajv would otherwise make of it at each start, which takes longer than all else that a
 * command does. Its rule for sizes, `x-bytes`, is a function of src/spec/byte-rules.ts.
 */

import { _ } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import standaloneCode from "ajv/dist/standalone/index.js";

const HEAD = `// @ts-nocheck
import { brokenByteRule } from "./byte-rules.js";
import { STACK_SCHEMA } from "./schema.gen.js";
const letters = (text) => [...text].length;
`;

/** What ajv takes from its runtime, and what it is here: the program is to need no ajv. */
const RUNTIME = [['require("ajv/dist/runtime/ucs2length").default', "letters"]];

const BYTES_KEYWORD = {
  keyword: "x-bytes",
  schemaType: "object",
  error: { message: "breaks a rule of sizes", params: ({ params }) => params.broken },
  code(context) {
    const { gen, data, schemaValue, it } = context;
    const check = gen.scopeValue("func", { ref: Function, code: _`brokenByteRule` });
    const broken = gen.const("broken", _`${check}(${schemaValue}, ${data}, ${it.parentData})`);
    context.setParams({ broken });
    context.fail(_`${broken} !== null`);
  },
};

/** Where ajv writes parts of the schema out once more: what the program has of it already. */
function withoutCopies(module, schema) {
  const known = [[schema, "STACK_SCHEMA"]];
  for (const [name, part] of Object.entries(schema.$defs)) known.push([part, `STACK_SCHEMA.$defs.${name}`]);
  return known.reduce(
    (text, [part, expression]) => text.replaceAll(`= ${JSON.stringify(part)};`, `= ${expression};`),
    module,
  );
}

/** A module whose default export validates a document, fills in its defaults, and leaves `errors`. */
export function renderValidator(schema, heading) {
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
    code: { source: true, esm: true, lines: true },
  });
  const validate = ajv.compile(schema);
  const text = RUNTIME.reduce(
    (module, [theirs, ours]) => module.replaceAll(theirs, ours),
    withoutCopies(standaloneCode.default(ajv, validate), schema),
  );
  if (text.includes("require(")) throw new Error("the validator needs more of ajv's runtime: see RUNTIME");
  return `/** ${heading} */\n${HEAD}${text.replace('"use strict";', "").trim()}\n`;
}
