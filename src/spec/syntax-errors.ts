/**
 * The YAML parser's errors in the words of somebody who writes YAML: it speaks of its grammar, and where something is
 * not closed it points to where it noticed, not to what was opened.
 */

import { type Document, isCollection, isScalar, visit, type YAMLError } from "yaml";
import type { Remark } from "./problem.js";
import type { OffsetRange } from "./source.js";

export interface SyntaxError extends Pick<Remark, "message" | "expected" | "hint"> {
  range: OffsetRange;
}

export function describeSyntaxError(error: YAMLError, document: Document.Parsed, text: string): SyntaxError {
  const range = error.pos;
  switch (error.code) {
    case "TAB_AS_INDENT":
      return { range, message: "a tab indents this line", expected: "spaces" };
    case "BLOCK_AS_IMPLICIT_KEY":
      return {
        range,
        message: "a second ': ' on one line",
        expected: "one key and its value, or a mapping in { }",
        hint: "text that holds ': ' needs quotes",
      };
    case "BAD_SCALAR_START":
      return {
        range,
        message: "a plain value cannot start with this character",
        expected: "the value in quotes",
      };
    case "UNEXPECTED_TOKEN":
      return { range, message: "this cannot stand here", hint: `the parser says: ${parserWords(error)}` };
    case "MULTILINE_IMPLICIT_KEY":
      return { range, message: "a key goes over several lines", expected: "'KEY: value' on each line" };
    case "BAD_INDENT":
    case "MISSING_CHAR": {
      const opener = findUnclosed(document, text, range[0]);
      if (opener !== null) {
        return {
          range: [opener.offset, opener.offset + 1],
          message: "this is not closed",
          expected: opener.closer,
        };
      }
      if (error.code === "BAD_INDENT") {
        return {
          range: [range[0], text.length],
          message: "this line is not indented like its neighbours",
          expected: "the column of the other keys or items",
        };
      }
      return { range, message: parserWords(error) };
    }
    default:
      return { range, message: parserWords(error) };
  }
}

function parserWords({ message }: YAMLError): string {
  return `${message.charAt(0).toLowerCase()}${message.slice(1)}`.replaceAll(/\s+/g, " ").replace(/[.:]$/, "");
}

/** The innermost bracket or quote that stands before an offset and has no end. */
function findUnclosed(
  document: Document.Parsed,
  text: string,
  before: number,
): { offset: number; closer: string } | null {
  let found: { offset: number; closer: string } | null = null;
  visit(document, (_, node) => {
    if (!(isScalar(node) || isCollection(node)) || !node.range || node.range[0] > before) return;
    const [offset, end] = node.range;
    const opener = text[offset] ?? "";
    const closer = closerOf(node, opener);
    if (closer !== undefined && (text[end - 1] !== closer || end - 1 === offset)) found = { offset, closer };
  });
  return found;
}

function closerOf(node: unknown, opener: string): string | undefined {
  if (isScalar(node)) {
    const quoted = node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE";
    return quoted ? opener : undefined;
  }
  if (!isCollection(node) || !node.flow) return undefined;
  return opener === "[" ? "]" : "}";
}
