/** Places in a text: offsets become lines and columns, and paths into a document become offsets. */

import type { DocPath } from "./finding.js";

/** A run of characters on one line. */
export interface Span {
  /** From 1. */
  line: number;
  /** From 1, in characters (code points). */
  column: number;
  /** In characters, at least 1. */
  length: number;
}

/** Offsets in UTF-16 units; the end is not included. */
export type OffsetRange = readonly [start: number, end: number];

/** Where one value of a document stands, and its key if it has one. */
export interface SourceNode {
  readonly key: OffsetRange | undefined;
  readonly value: OffsetRange;
  readonly children: ReadonlyMap<string | number, SourceNode>;
}

const characters = (text: string) => [...text].length;

/** A named text that knows its lines. */
export class SourceText {
  readonly file: string;
  readonly text: string;
  private readonly lineStarts: number[];

  constructor(file: string, text: string) {
    this.file = file;
    this.text = text;
    this.lineStarts = [0];
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1))
      this.lineStarts.push(at + 1);
  }

  /** The text of a line, counted from 1, without its end. */
  line(number: number): string {
    const start = this.lineStarts[number - 1];
    if (start === undefined) return "";
    const next = this.lineStarts[number];
    return this.text.slice(start, next === undefined ? undefined : next - 1).replace(/\r$/, "");
  }

  /** The span that starts at an offset and ends with the range or its first line, whichever comes first. */
  span([start, end]: OffsetRange): Span {
    let offset = Math.min(Math.max(start, 0), this.text.length);
    // What is missing or badly indented is shown at the first thing that is there.
    while (this.text[offset] === " ") offset += 1;
    const line = this.lineAt(offset);
    const lineStart = this.lineStarts[line - 1] ?? 0;
    const before = this.text.slice(lineStart, offset);
    const atFault = this.text.slice(offset, Math.min(end, lineStart + this.line(line).length)).trimEnd();
    // A byte order mark takes no column.
    return {
      line,
      column: characters(before.replace(/^\uFEFF/, "")) + 1,
      length: Math.max(1, characters(atFault)),
    };
  }

  /** The line that an offset is on, from 1. */
  lineAt(offset: number): number {
    let low = 0;
    let high = this.lineStarts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.lineStarts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }
}

/** From paths into one document to places in its text. */
export class SourceMap {
  private readonly source: SourceText;
  private readonly root: SourceNode;

  constructor(source: SourceText, root: SourceNode) {
    this.source = source;
    this.root = root;
  }

  get file(): string {
    return this.source.file;
  }

  /**
   * The place of a key or value. What is not in the document (a key that is missing, a default) is placed at the key
   * of its nearest ancestor that is.
   */
  locate(path: DocPath, at: "key" | "value"): Span {
    let node = this.root;
    let found = true;
    for (const step of path) {
      const child = node.children.get(step);
      if (child === undefined) {
        found = false;
        break;
      }
      node = child;
    }
    const [start, end] = node.value;
    const showKey = !found || at === "key" || start === end;
    return this.source.span(showKey ? (node.key ?? node.value) : node.value);
  }
}
