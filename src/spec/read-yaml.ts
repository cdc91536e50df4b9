/**
 * From text to plain JSON values with the place of every key and value.
 *
 * The text is hostile until proven otherwise: its size, its nesting and what its aliases expand to are bounded before
 * anything recurses over it. (The composer recurses; at the end of the stack it would not throw but abort.)
 */

import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  type Node,
  Parser,
  type Scalar,
} from "yaml";
import { nearest } from "./nearest.js";
import { quote } from "./place.js";
import { type Problem, problemAt, type Remark, withinLimit } from "./problem.js";
import { type OffsetRange, SourceMap, type SourceNode, type SourceText } from "./source.js";
import { describeSyntaxError } from "./syntax-errors.js";

/** Bytes of a text, and values of one document with its aliases written out. */
export const TEXT_BYTES_MAX = 2 ** 20;
const VALUES_MAX = 50_000;
const DOCUMENTS_MAX = 256;
/** Collections inside each other; the deepest valid stack has 26. */
export const NESTING_MAX = 64;
/** The parser's stack holds up to four tokens for a level of ours. */
const PARSER_STACK_MAX = 4 * NESTING_MAX;
/** Of more in one document the first were the cause. */
const SYNTAX_ERRORS_MAX = 20;
/** Tags that say what the core schema would find anyway. */
const PLAIN_TAGS = new Set(
  ["str", "int", "float", "bool", "null", "map", "seq"].map((tag) => `tag:yaml.org,2002:${tag}`),
);

export interface YamlDocument {
  /** Plain JSON: no shared parts, keys are text. */
  value: unknown;
  source: SourceMap;
  /** Whether one of the problems is in this document: it can be looked at further, but is refused. */
  hasProblems: boolean;
}

export interface YamlText {
  /** The documents that can be looked at further, in order. Empty ones are left out. */
  documents: YamlDocument[];
  problems: Problem[];
}

/** Thrown and caught in this file: nothing that follows in this document would make sense. */
class Unreadable extends Error {}

type Report = (range: OffsetRange, remark: Omit<Remark, "severity">) => void;
type Reported = Remark & { range: OffsetRange };

/** Reads all documents of a text. Never throws, whatever the text. */
export function readYaml(source: SourceText): YamlText {
  const problems: Problem[] = [];
  // Places are looked up for what will be told only: that takes as long as the line is.
  let reported: Reported[] = [];
  const report: Report = (range, remark) => reported.push({ range, severity: "error", ...remark });
  const tell = () => {
    const told = withinLimit(reported).map(({ range, ...remark }) =>
      problemAt(source.file, source.span(range), remark),
    );
    problems.push(...told);
    reported = [];
    return told.length > 0;
  };
  // A character is at least a byte: the cheap test spares the exact one for most of what is too large.
  if (source.text.length > TEXT_BYTES_MAX || new TextEncoder().encode(source.text).length > TEXT_BYTES_MAX) {
    report([0, 0], { code: "input-too-large", message: "the text is too large", expected: "at most 1MiB" });
    tell();
    return { documents: [], problems };
  }
  const tokens = readTokens(source.text);
  if (tokens.tooDeepAt !== null) {
    report([tokens.tooDeepAt, tokens.tooDeepAt + 1], {
      code: "input-too-large",
      message: "collections are nested too deeply",
      expected: `at most ${NESTING_MAX} levels`,
    });
    tell();
    return { documents: [], problems };
  }
  const composer = new Composer({
    version: "1.2",
    schema: "core",
    merge: false,
    // Told by the reader below, which knows the places of both keys.
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: "silent",
  });
  const documents: YamlDocument[] = [];
  let count = 0;
  for (const document of composer.compose(tokens.tokens)) {
    count += 1;
    if (count > DOCUMENTS_MAX) {
      report(rangeOf(document.contents) ?? [0, 0], {
        code: "input-too-large",
        message: "there are too many documents in this text",
        expected: `at most ${DOCUMENTS_MAX}`,
      });
      tell();
      break;
    }
    if (reportSyntax(document, source, report)) {
      tell();
      continue;
    }
    const { contents } = document;
    if (contents === null || (isScalar(contents) && contents.value === null)) continue;
    const read = new Reader(source, report).readDocument(contents);
    const hasProblems = tell();
    if (read !== null) {
      documents.push({ value: read.value, source: new SourceMap(source, read.node), hasProblems });
    }
  }
  if (documents.length === 0 && problems.length === 0) {
    report([0, 0], {
      code: "no-document",
      message: "there is no stack in this text",
      expected: "apiVersion: ublk-stack/v1",
    });
    tell();
  }
  return { documents, problems };
}

function readTokens(text: string): { tokens: CST.Token[]; tooDeepAt: number | null } {
  const parser = new Parser();
  const tokens: CST.Token[] = [];
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (parser.stack.length > PARSER_STACK_MAX) return { tokens: [], tooDeepAt: parser.offset };
  }
  for (const token of parser.end()) tokens.push(token);
  return { tokens, tooDeepAt: null };
}

/** @returns whether there was anything that makes the rest of the document doubtful */
function reportSyntax(document: Document.Parsed, source: SourceText, report: Report): boolean {
  const { explicit, version } = document.directives.yaml;
  const start = document.range?.[0] ?? 0;
  if (explicit && version !== "1.2") {
    const directive = source.text.lastIndexOf("%YAML", start);
    report([directive, directive + `%YAML ${version}`.length], {
      code: "unsupported-yaml",
      message: `YAML ${version} reads some words differently`,
      expected: "YAML 1.2, without a %YAML directive",
    });
    return true;
  }
  // What follows a syntax error on the same line is its echo.
  let lastLine = 0;
  const errors = [...document.errors].sort((a, b) => a.pos[0] - b.pos[0]);
  for (const error of errors.slice(0, SYNTAX_ERRORS_MAX)) {
    const { range, ...remark } = describeSyntaxError(error, document, source.text);
    const line = source.lineAt(range[0]);
    if (line === lastLine) continue;
    lastLine = line;
    report(range, { code: "yaml-syntax", ...remark });
  }
  return document.errors.length > 0;
}

interface Read {
  value: unknown;
  node: SourceNode;
}

/** Reads one document, depth first in the order of the text, so that an alias finds what was anchored before it. */
class Reader {
  private readonly source: SourceText;
  private readonly report: Report;
  private readonly anchors = new Map<string, Node>();
  /** Nodes that are being read: an alias to one of them would never end. */
  private readonly open = new Set<Node>();
  private values = 0;
  /** The alias that stands in the text where others are followed from. */
  private outerAlias: OffsetRange | undefined;

  constructor(source: SourceText, report: Report) {
    this.source = source;
    this.report = report;
  }

  /** @returns null if the document cannot be made sense of, which has been reported */
  readDocument(contents: Node): Read | null {
    try {
      return this.read(contents);
    } catch (error) {
      if (error instanceof Unreadable) return null;
      throw error;
    }
  }

  private read(node: Node | null, key?: OffsetRange, depth = 0): Read {
    const range = rangeOf(node) ?? key ?? [0, 0];
    if (node === null) return this.leaf(null, range, key);
    if (isAlias(node)) return this.readAlias(node.source, range, key, depth);
    this.values += 1;
    if (this.values > VALUES_MAX || depth > NESTING_MAX) this.refuseSize(range, depth);
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
    if (node.tag !== undefined && !PLAIN_TAGS.has(node.tag)) {
      this.report(range, {
        code: "unsupported-yaml",
        message: `the tag ${quote(node.tag.replace(/^tag:yaml\.org,2002:/, "!!"))} has no meaning in a stack`,
        expected: "a value without a tag",
      });
    }
    if (isScalar(node)) return this.leaf(plainValue(node), range, key);
    this.open.add(node);
    const read = isMap(node)
      ? this.readMap(node.items, range, key, depth)
      : this.readSeq(node, range, key, depth);
    this.open.delete(node);
    return read;
  }

  private leaf(value: unknown, range: OffsetRange, key: OffsetRange | undefined): Read {
    return { value, node: { key, value: range, children: new Map() } };
  }

  private readAlias(name: string, range: OffsetRange, key: OffsetRange | undefined, depth: number): Read {
    const target = this.anchors.get(name);
    if (target === undefined) {
      const suggestion = nearest(name, this.anchors.keys());
      this.report(range, {
        code: "yaml-syntax",
        message: `no anchor &${name} stands before this alias`,
        ...(suggestion === undefined ? {} : { suggestion: `*${suggestion}` }),
      });
      throw new Unreadable();
    }
    if (this.open.has(target)) {
      this.report(range, {
        code: "too-many-aliases",
        message: `the alias *${name} stands inside its own anchor`,
      });
      throw new Unreadable();
    }
    const outer = this.outerAlias;
    this.outerAlias ??= range;
    const { value, node } = this.read(target, undefined, depth);
    this.outerAlias = outer;
    // What is wrong inside is shown where it is written; what is wrong with the whole, where it is used.
    return { value, node: { key, value: range, children: node.children } };
  }

  private readMap(
    items: Iterable<{ key: unknown; value: unknown }>,
    range: OffsetRange,
    key: OffsetRange | undefined,
    depth: number,
  ): Read {
    const entries = new Map<string, unknown>();
    const children = new Map<string, SourceNode>();
    for (const item of items) {
      const keyNode = item.key as Node | null;
      const keyRange = rangeOf(keyNode) ?? range;
      const text = keyText(keyNode);
      const { value, node } = this.read(item.value as Node | null, keyRange, depth + 1);
      if (text === null) {
        this.report(keyRange, {
          code: "key-not-text",
          message: "this key is not plain text",
          expected: "a name",
        });
      } else if (entries.has(text)) {
        this.report(keyRange, {
          code: "duplicate-key",
          message: `the key ${quote(text)} stands twice in this mapping`,
          expected: "each key once",
          hint: `the first stands on line ${this.source.lineAt((children.get(text)?.key ?? range)[0])}`,
        });
      } else {
        entries.set(text, value);
        children.set(text, node);
      }
    }
    return { value: Object.fromEntries(entries), node: { key, value: range, children } };
  }

  private readSeq(node: Node, range: OffsetRange, key: OffsetRange | undefined, depth: number): Read {
    const items = isSeq(node) ? node.items : [];
    const read = items.map((item) => this.read(item as Node | null, undefined, depth + 1));
    return {
      value: read.map(({ value }) => value),
      node: { key, value: range, children: new Map(read.map((item, index) => [index, item.node])) },
    };
  }

  private refuseSize(range: OffsetRange, depth: number): never {
    if (this.outerAlias !== undefined) {
      this.report(this.outerAlias, {
        code: "too-many-aliases",
        message: "aliases make this document too large",
      });
    } else {
      const what = depth > NESTING_MAX ? "nested too deeply" : "too large";
      this.report(range, { code: "input-too-large", message: `this document is ${what}` });
    }
    throw new Unreadable();
  }
}

/** Values that only a tag can make (dates, binary) are read as the text they were written as. */
function plainValue(node: Scalar): unknown {
  const { value } = node;
  return typeof value === "object" && value !== null ? (node.source ?? "") : value;
}

function rangeOf(node: Node | null): OffsetRange | undefined {
  const range = node?.range;
  return range === undefined || range === null ? undefined : [range[0], range[1]];
}

/** A plain key means its text, whatever YAML takes it for: `null: { size: 1GiB }` is the layer type null. */
function keyText(node: Node | null): string | null {
  if (!isScalar(node) || node.tag !== undefined) return null;
  if (typeof node.value === "string") return node.value;
  return node.source === undefined || node.source === "" ? null : node.source;
}
