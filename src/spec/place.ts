/** Words for places in a document, for messages that must be understood without the text beside them. */

import type { DocPath } from "./finding.js";

const SHOWN_MAX = 60;

/** A piece of the user's text, quoted, on one line, and not longer than a line of a message can bear. */
export function quote(text: string): string {
  const clipped = [...text].length > SHOWN_MAX ? `${[...text].slice(0, SHOWN_MAX).join("")}…` : text;
  return JSON.stringify(clipped).replaceAll(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    "\uFFFD",
  );
}

/** A JSON value in a few words: `"64KB"`, `12`, `a list`. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "a mapping" : String(value);
}

/** `layer "wide"`, `chunk of stripe "wide"`, `file "wide.0"`, `depth of ublk of export "data"`, `spec`, `the document`. */
export function describePlace(path: DocPath): string {
  const [top, room, name, ...rest] = path;
  if (top !== "spec" || name === undefined) return path.length === 0 ? "the document" : path.join(".");
  if (room === "exports") {
    return `${ofEach(rest)}export ${quote(String(name))}`;
  }
  if (room !== "layers") return path.join(".");
  let layer = String(name);
  let steps = rest;
  for (;;) {
    // [type, "members", index, ...] is a layer written in place.
    const [, key, index] = steps;
    if (key !== "members" || typeof index !== "number") break;
    layer = `${layer}.${index}`;
    steps = steps.slice(3);
  }
  const [first, ...options] = steps;
  if (first === undefined || first === "readOnly") return `${ofEach(steps)}layer ${quote(layer)}`;
  return `${ofEach(options)}${first} ${quote(layer)}`;
}

/** Innermost first: `depth of ublk of `; places in a list count from 0. */
function ofEach(keys: DocPath): string {
  return keys
    .map((key) => `${typeof key === "number" ? "entry " : ""}${key} of `)
    .toReversed()
    .join("");
}

/** `chunk of stripe "wide" is`, `members of linear "all" are`. */
export function describePlaceIs(path: DocPath): string {
  const plural = /^(members|queues|layers|exports)$/.test(String(path.at(-1)));
  return `${describePlace(path)} ${plural ? "are" : "is"}`;
}
