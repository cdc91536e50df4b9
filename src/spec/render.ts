/** Problems for people: the place, the line, the part at fault underlined, and what would have been right. */

import pc from "picocolors";
import type { Problem } from "./problem.js";
import { SourceText } from "./source.js";

export interface RenderOptions {
  color: boolean;
}

/** Characters of a source line that are shown; of a longer one the part around the fault. */
const LINE_MAX = 120;
const CONTEXT = 40;
/** Letters that take two columns of a terminal, and marks that take none (Unicode, East Asian Width and Mn). */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const NARROW = /[\p{Mn}\p{Me}\p{Cf}]/u;
/** What would move the cursor or change the terminal; a text is not to speak to it. */
const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/gu;

const clean = (text: string) => text.replaceAll("\t", "  ").replaceAll(CONTROL, "\uFFFD");

function columns(text: string): number {
  return [...text].reduce((sum, letter) => sum + (NARROW.test(letter) ? 0 : WIDE.test(letter) ? 2 : 1), 0);
}

/**
 * One problem, on several lines without a line feed at the end:
 *
 *     demo.yaml:12:49: error: "64KB" is not a size [bad-size]
 *        |
 *     12 |     wide: { stripe: { members: [d0, d1], chunk: 64KB } }
 *        |                                                 ^^^^ expected a size, such as 64KiB
 *        = did you mean 64KiB?
 *
 * @param text the text that the problem was found in
 */
export function renderProblem(problem: Problem, text: string, options: RenderOptions): string {
  return renderIn(problem, new SourceText(problem.file, text), options);
}

/** All problems of one text with a blank line between them; an empty text if there are none. */
export function renderProblems(problems: readonly Problem[], text: string, options: RenderOptions): string {
  const source = new SourceText(problems[0]?.file ?? "", text);
  return problems.map((problem) => renderIn(problem, source, options)).join("\n\n");
}

function renderIn(problem: Problem, source: SourceText, { color }: RenderOptions): string {
  const paint = pc.createColors(color);
  const tint = problem.severity === "error" ? paint.red : paint.yellow;
  const { before, fault, after } = cut(source.line(problem.line), problem.column, problem.length);
  const number = String(problem.line);
  const gutter = `${" ".repeat(number.length)} ${paint.blue("|")}`;
  const underline = "^".repeat(Math.max(1, columns(fault)));
  const expected = problem.expected === undefined ? "" : ` expected ${clean(problem.expected)}`;
  const note = (words: string) => `${" ".repeat(number.length)} ${paint.blue("=")} ${clean(words)}`;
  return [
    `${paint.bold(`${clean(problem.file)}:${problem.line}:${problem.column}:`)} ${tint(
      paint.bold(`${problem.severity}:`),
    )} ${paint.bold(clean(problem.message))} ${paint.dim(`[${problem.code}]`)}`,
    gutter,
    `${paint.blue(`${number} |`)} ${before}${fault}${after}`.trimEnd(),
    `${gutter} ${" ".repeat(columns(before))}${tint(`${underline}${expected}`)}`,
    ...(problem.suggestion === undefined ? [] : [note(`did you mean ${problem.suggestion}?`)]),
    ...(problem.hint === undefined ? [] : [note(`hint: ${problem.hint}`)]),
  ].join("\n");
}

/** The line in three parts, safe to print; of a long one what surrounds the fault. */
function cut(line: string, column: number, length: number): { before: string; fault: string; after: string } {
  const letters = [...line.replace(/^\uFEFF/, "")];
  const start = column - 1;
  const end = start + length;
  const part = (from: number, to: number) => clean(letters.slice(from, to).join(""));
  if (letters.length <= LINE_MAX) {
    return { before: part(0, start), fault: part(start, end), after: part(end, letters.length) };
  }
  const from = Math.max(0, start - CONTEXT);
  const shownEnd = Math.min(end, start + LINE_MAX - CONTEXT);
  const to = Math.min(letters.length, shownEnd + CONTEXT);
  return {
    before: `${from > 0 ? "…" : ""}${part(from, start)}`,
    fault: part(start, shownEnd),
    after: `${part(shownEnd, to)}${to < letters.length ? "…" : ""}`,
  };
}
