/** The stacks of the files that a command line names, read with every problem said. Loads the parser of stack files. */

import { StackError } from "../../errors.js";
import {
  type Finding,
  hasErrors,
  type ParsedStack,
  type Problem,
  parseStacks,
  renderProblems,
  toProblems,
} from "../../spec/index.js";
import { plural } from "../render/amounts.js";
import type { Invocation } from "./invocation.js";
import { readStackFiles, type StackFile } from "./stack-files.js";
import type { Sink } from "./terminal.js";

export interface LoadedStack extends ParsedStack {
  readonly file: StackFile;
}

export interface LoadedStacks {
  readonly files: readonly StackFile[];
  /** Documents without errors. */
  readonly stacks: readonly LoadedStack[];
  /** Of all files, in the order of files and lines. */
  readonly problems: readonly Problem[];
}

/** The second and further documents of one name in different files; within a file the parser says it. */
function duplicateAcross(stacks: readonly LoadedStack[]): Problem[] {
  const first = new Map<string, LoadedStack>();
  return stacks.flatMap((stack) => {
    const earlier = first.get(stack.spec.name);
    if (earlier === undefined) {
      first.set(stack.spec.name, stack);
      return [];
    }
    const finding: Finding = {
      path: ["metadata", "name"],
      at: "value",
      code: "duplicate-stack",
      severity: "error",
      message: `stack "${stack.spec.name}" is described in ${earlier.file.name} too`,
      expected: "a name of its own for each stack",
    };
    return toProblems([finding], stack.source);
  });
}

/**
 * Reads and parses FILE arguments; says nothing and refuses nothing.
 * @throws StackError "usage" or "file-unreadable"
 */
export async function loadStacks(words: readonly string[]): Promise<LoadedStacks> {
  const files = await readStackFiles(words, process.stdin);
  const parsed = files.map((file) => ({ file, ...parseStacks(file.text, file.name) }));
  const stacks = parsed.flatMap(({ file, documents }) =>
    documents.map((document) => ({ ...document, file })),
  );
  const problems = [...parsed.flatMap((one) => one.problems), ...duplicateAcross(stacks)];
  return { files, stacks, problems };
}

/** Prints problems as they stand in the text, with the lines themselves. */
export function printProblems(problems: readonly Problem[], files: readonly StackFile[], sink: Sink): void {
  for (const file of files) {
    const own = problems.filter((problem) => problem.file === file.name);
    if (own.length > 0)
      sink.line(renderProblems(own, file.text, { color: sink.colors.isColorSupported }).trimEnd());
  }
}

/** The last word on what the host refuses, after its findings. */
export function printRefusal(subject: string, { colors: { bold, red }, line }: Sink): void {
  line(`${bold(red("error:"))} ${bold(`${subject} is refused; nothing was changed`)}`);
}

/** `demo.yaml is refused: 2 errors` */
export function refusalLine(problems: readonly Problem[], sink: Sink): string {
  const errors = problems.filter(({ severity }) => severity === "error");
  const names = [...new Set(errors.map(({ file }) => file))].join(", ");
  return `${sink.colors.bold(sink.colors.red("error:"))} ${sink.colors.bold(`${names}: ${plural(errors.length, "error")}; nothing was changed`)}`;
}

/**
 * Stacks that may be worked with: problems are printed to standard error, and errors refuse the whole set.
 * @returns null when the set is refused; exit status 2 is due
 */
export async function acceptedStacks({ args, terminal }: Invocation): Promise<readonly LoadedStack[] | null> {
  const { files, stacks, problems } = await loadStacks(args);
  printProblems(problems, files, terminal.err);
  if (!hasErrors(problems)) return stacks;
  terminal.err.line(refusalLine(problems, terminal.err));
  return null;
}

/** Prints findings of later stages about one stack at their places in its file. */
export function printFindings(stack: LoadedStack, findings: readonly Finding[], sink: Sink): void {
  printProblems(toProblems(findings, stack.source), [stack.file], sink);
}

/** The findings that a refusal carries, empty for any other error. */
export function findingsOf(error: unknown): readonly Finding[] {
  const findings = error instanceof StackError ? error.details.findings : undefined;
  return Array.isArray(findings) ? (findings as Finding[]) : [];
}
