/**
 * From ajv's errors to findings: one precise message for each mistake, and none for the echo of another.
 *
 * The schema itself carries the words: `errorMessage` is what was expected (editors show it too), `x-error` the code,
 * `x-refused` why a value that somebody may expect is not among the choices.
 */

import type { ErrorObject } from "ajv/dist/2020.js";
import { type ErrorCode, isErrorCode } from "../errors.js";
import type { BrokenByteRule } from "./byte-rules.js";
import type { DocPath, Finding } from "./finding.js";
import { nearestName } from "./names.js";
import { nearest } from "./nearest.js";
import { describePlace, describePlaceIs, describeValue, quote } from "./place.js";
import { formatSize, nearestSize } from "./size.js";

type Schema = Readonly<Record<string, unknown>>;
/** One thing to say about the value at hand, or about a key of it. */
type Said = Pick<Finding, "code" | "message" | "expected" | "suggestion" | "hint"> & {
  key?: string;
  at?: "key";
};

/** What is at hand when an error is put into words. */
interface Context {
  error: ErrorObject;
  /** Of the value at fault. */
  path: DocPath;
  value: unknown;
  /** The schema that the value does not fit. */
  schema: Schema;
  root: Schema;
  /** By JSON pointer of a mapping with unknown keys: the known ones that they were probably meant to be. */
  meant: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Errors that only say that another one, reported as well, was inside. */
const ECHOES = new Set(["if", "propertyNames"]);

/**
 * @param document what was validated
 * @param root the schema
 * @returns at least one finding if there was an error
 */
export function schemaFindings(errors: readonly ErrorObject[], document: unknown, root: Schema): Finding[] {
  const meant = new Map<string, Set<string>>();
  const wrongTypes = new Set<string>();
  for (const error of errors) {
    if (error.keyword === "type") wrongTypes.add(error.instancePath);
    if (error.keyword !== "additionalProperties") continue;
    const known = nearestKey(error, error.params.additionalProperty);
    const keys = meant.get(error.instancePath) ?? new Set();
    if (known !== undefined) keys.add(known);
    meant.set(error.instancePath, keys);
  }
  const findings = new Map<string, Finding>();
  for (const error of errors) {
    if (ECHOES.has(error.keyword) || error.schemaPath.includes("/oneOf/")) continue;
    // A value of the wrong type breaks every other rule too.
    if (error.keyword !== "type" && wrongTypes.has(error.instancePath)) continue;
    const schema = (error.parentSchema ?? {}) as Schema;
    const path = toPath(error.instancePath, document);
    const words = WORDS.get(error.keyword) ?? ajvWords;
    for (const { key, at = "value", ...said } of words({
      error,
      path,
      value: error.data,
      schema,
      root,
      meant,
    })) {
      const place = key === undefined ? path : [...path, key];
      const once = JSON.stringify([at, ...place]);
      // One message for a value, however many rules it breaks.
      if (!findings.has(once)) findings.set(once, { path: place, at, severity: "error", ...said });
    }
  }
  return [...findings.values()];
}

type Words = (context: Context) => Said[];

const WORDS: ReadonlyMap<string, Words> = new Map<string, Words>([
  ["additionalProperties", unknownKey],
  ["required", missingKey],
  ["oneOf", layerTypes],
  ["type", wrongType],
  ["enum", ({ value, schema, path }) => [badChoice(schema.enum as unknown[], value, schema, path)]],
  ["const", ({ value, schema, path }) => [badChoice([schema.const], value, schema, path)]],
  ["pattern", badText],
  ["minLength", badText],
  ["maxLength", badText],
  ["minimum", outOfRange],
  ["maximum", outOfRange],
  ["minItems", tooFew],
  ["minProperties", tooFew],
  ["maxItems", tooMany],
  ["maxProperties", tooMany],
  ["x-bytes", badBytes],
]);

/** For a rule of the schema that has no words of ours yet: the validator's. */
function ajvWords({ error, path }: Context): Said[] {
  return [{ code: "bad-value", message: `${describePlace(path)} ${error.message ?? "is not valid"}` }];
}

function tooFew({ error, value, schema, path }: Context): Said[] {
  const some = Array.isArray(value) && value.length > 0;
  return [
    {
      code: codeOf(schema, "out-of-range"),
      message: `${describePlaceIs(path)} ${some ? "too short" : "empty"}`,
      expected: error.params.limit === 1 ? "at least one entry" : `at least ${error.params.limit} entries`,
    },
  ];
}

function tooMany({ error, value, schema, path }: Context): Said[] {
  const isMembers = schema.title === "Members";
  const count = Array.isArray(value) ? value.length : Object.keys(value as object).length;
  return [
    {
      code: isMembers ? "too-many-members" : "out-of-range",
      message: `there are ${count} ${isMembers ? "" : "entries in "}${describePlace(path)}`,
      expected: `at most ${error.params.limit}`,
    },
  ];
}

function unknownKey({ error, path, schema, root }: Context): Said[] {
  const key = String(error.params.additionalProperty);
  const suggestion = nearestKey(error, key);
  const inside = suggestion === undefined ? optionOf(error, key, root) : undefined;
  const isLayer = schema.oneOf !== undefined;
  const known = Object.keys((schema.properties as Schema | undefined) ?? {});
  return [
    {
      key,
      at: "key",
      code: "unknown-key",
      message: `unknown ${isLayer ? "layer type or key" : "key"} ${quote(key)} in ${describePlace(path)}`,
      expected: list(known),
      ...(suggestion === undefined ? {} : { suggestion }),
      ...(inside === undefined ? {} : { hint: `${quote(key)} belongs inside ${quote(inside)}` }),
    },
  ];
}

function missingKey({ error, path, schema, meant }: Context): Said[] {
  const key = String(error.params.missingProperty);
  if (meant.get(error.instancePath)?.has(key)) return [];
  const missing = (schema.properties as Readonly<Record<string, Schema>> | undefined)?.[key] ?? {};
  return [
    {
      key,
      code: codeOf(missing, "missing-key") === "no-export" ? "no-export" : "missing-key",
      message: `${describePlace(path)} has no ${quote(key)}`,
      expected: missing.const === undefined ? `the key ${key}` : `${key}: ${missing.const}`,
    },
  ];
}

/** A layer needs exactly one type key. One that nobody knows has been reported as an unknown key. */
function layerTypes({ error, path, value, schema, meant }: Context): Said[] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return [];
  const types = (schema.oneOf as { required: string[] }[]).flatMap(({ required }) => required);
  const used = types.filter((type) => Object.hasOwn(value, type));
  if (used.length > 1) {
    return used.slice(1).map((type) => ({
      key: type,
      at: "key" as const,
      code: "layer-with-types" as const,
      message: `${describePlace(path)} already is a ${used[0]} and cannot be a ${type} as well`,
      expected: "exactly one layer type",
    }));
  }
  if (meant.has(error.instancePath)) return [];
  return [
    {
      at: "key",
      code: "layer-without-type",
      message: `${describePlace(path)} has no type`,
      expected: list(types),
    },
  ];
}

const KIND_WORDS: ReadonlyMap<string, string> = new Map([
  ["string", "text"],
  ["integer", "a whole number"],
  ["boolean", "true or false"],
  ["object", "a mapping"],
  ["array", "a list"],
]);

/** Words that other versions of YAML take for booleans. */
const OTHER_BOOLEANS: ReadonlyMap<string, string> = new Map([
  ["yes", "true"],
  ["on", "true"],
  ["no", "false"],
  ["off", "false"],
]);

const SWITCHES: ReadonlyMap<string, string> = new Map([
  ["true", "on"],
  ["false", "off"],
]);

function wrongType({ value, schema, path }: Context): Said[] {
  const scalar = value !== null && typeof value !== "object";
  if (scalar && schema.enum !== undefined) return [badChoice(schema.enum as unknown[], value, schema, path)];
  const kinds = [schema.type].flat().map(String);
  const suggestion = scalar ? otherType(value, kinds, schema) : undefined;
  const index = path.at(-1);
  const place =
    typeof index === "number" && path.at(-2) === "members"
      ? `member ${index} of ${describePlace(path.slice(0, -2))}`
      : describePlace(path);
  return [
    {
      code: scalar ? codeOf(schema, "wrong-type") : "wrong-type",
      message: value === null ? `${place} empty` : `${place} ${describeValue(value)}`,
      expected: String(schema.errorMessage ?? kinds.map((kind) => KIND_WORDS.get(kind) ?? kind).join(" or ")),
      ...(suggestion === undefined ? {} : { suggestion }),
    },
  ];
}

/** What a scalar would be as the type that it should have been. */
function otherType(value: unknown, kinds: readonly string[], schema: Schema): string | undefined {
  if (typeof value === "string") {
    if (kinds.includes("boolean")) {
      return OTHER_BOOLEANS.get(value.toLowerCase()) ?? nearest(value, ["true", "false"]);
    }
    return kinds.includes("integer") && /^[0-9]{1,15}$/.test(value) ? String(Number(value)) : undefined;
  }
  // Of other texts (octal permissions) YAML's number may not show what was written.
  return ["Name", "Path", "Member"].includes(String(schema.title)) ? `"${value}"` : undefined;
}

function badChoice(choices: readonly unknown[], value: unknown, schema: Schema, path: DocPath): Said {
  const words = choices.map(String);
  // Of a map or list there is no text to be near to, and String() fails for one with a key "toString".
  const text = typeof value === "object" ? "" : String(value);
  const switched = SWITCHES.get(OTHER_BOOLEANS.get(text.toLowerCase()) ?? text);
  const suggestion = switched !== undefined && words.includes(switched) ? switched : nearest(text, words);
  const hint = typeof value === "string" ? refusalOf(schema, value) : undefined;
  return {
    code: codeOf(schema, "bad-value"),
    message: `${describePlace(path)} cannot be ${describeValue(value)}`,
    expected: list(words),
    // With one choice there is nothing to be near to.
    ...(suggestion === undefined || words.length === 1 ? {} : { suggestion }),
    ...(hint === undefined ? {} : { hint }),
  };
}

function refusalOf(schema: Schema, value: string): string | undefined {
  const refused = new Map(Object.entries((schema["x-refused"] as Record<string, string> | undefined) ?? {}));
  return refused.get(value);
}

function badText({ error, value, schema, path }: Context): Said[] {
  const isKey = error.propertyName !== undefined;
  const text = String(error.propertyName ?? value);
  const code = codeOf(schema, "bad-value");
  const suggestion = suggestText(code, text);
  const message =
    code === "bad-size"
      ? `${quote(text)} is not a size`
      : code === "bad-name"
        ? `${quote(text)} is not a valid name`
        : `${describePlace(path)} cannot be ${quote(text)}`;
  return [
    {
      ...(isKey ? { key: text, at: "key" as const } : {}),
      code,
      message,
      expected: String(schema.errorMessage ?? "another text"),
      ...(suggestion === undefined ? {} : { suggestion }),
    },
  ];
}

function suggestText(code: ErrorCode, text: string): string | undefined {
  if (code === "bad-size") return nearestSize(text);
  return code === "bad-name" ? nearestName(text) : undefined;
}

function outOfRange({ value, schema, path }: Context): Said[] {
  const { minimum, maximum } = schema;
  const code = codeOf(schema, "out-of-range");
  if (code === "bad-size") {
    return [{ code, message: `${value} is not a size`, expected: "1 byte to less than 8192TiB" }];
  }
  return [
    { code, message: `${describePlace(path)} cannot be ${value}`, expected: `${minimum} to ${maximum}` },
  ];
}

const BYTE_RULE_CODES = {
  size: "bad-size",
  minimum: "out-of-range",
  maximum: "out-of-range",
  powerOfTwo: "not-power-of-two",
  multipleOf: "size-not-multiple",
} as const satisfies Record<BrokenByteRule["rule"], ErrorCode>;

function badBytes({ error, value, path }: Context): Said[] {
  const { rule, expected, suggestion } = error.params as BrokenByteRule;
  const shown = typeof value === "number" ? formatSize(value) : String(value);
  return [
    {
      code: BYTE_RULE_CODES[rule],
      message: `${describePlace(path)} cannot be ${shown}`,
      expected,
      ...(suggestion === null ? {} : { suggestion }),
    },
  ];
}

function codeOf(schema: Schema, otherwise: ErrorCode): ErrorCode {
  const code = schema["x-error"];
  return typeof code === "string" && isErrorCode(code) ? code : otherwise;
}

function nearestKey(error: ErrorObject, key: string): string | undefined {
  const { properties } = error.parentSchema as { properties?: Schema };
  const free = Object.keys(properties ?? {}).filter((known) => !Object.hasOwn(error.data as object, known));
  return nearest(key, free);
}

/** The key beside an unknown one whose mapping would take it: `size` next to `file`. */
function optionOf(error: ErrorObject, key: string, root: Schema): string | undefined {
  const { properties = {} } = error.parentSchema as { properties?: Record<string, { $ref?: string }> };
  const definitions = root.$defs as Record<string, { properties?: Schema }>;
  return Object.keys(properties).find((sibling) => {
    const name = properties[sibling]?.$ref?.slice("#/$defs/".length);
    const inner = name === undefined ? undefined : definitions[name]?.properties;
    return Object.hasOwn(error.data as object, sibling) && inner !== undefined && Object.hasOwn(inner, key);
  });
}

function list(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `one of ${words.join(", ")}`;
}

/** The steps of a JSON pointer (RFC 6901) into a document: whether a step is an index is for the document to say. */
function toPath(pointer: string, document: unknown): (string | number)[] {
  let value = document;
  return pointer
    .split("/")
    .slice(1)
    .map((escaped) => {
      const step = escaped.replaceAll("~1", "/").replaceAll("~0", "~");
      const key = Array.isArray(value) ? Number(step) : step;
      value = (value as Record<string | number, unknown> | null | undefined)?.[key];
      return key;
    });
}
