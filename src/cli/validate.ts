/** `ublk-stack validate FILE…`: every mistake of the files, from the text alone. */

import { ANY_WORLD, compile } from "../compile/compile.js";
import { hasErrors, type Problem, toProblems } from "../spec/index.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { type LoadedStacks, loadStacks, printProblems, refusalLine } from "./common/stacks.js";
import { isStructured, printValue } from "./common/structured.js";
import { plural } from "./render/amounts.js";

/** What the compiler finds without looking at the host, in the order of the text. */
function compilerProblems({ stacks }: LoadedStacks): Problem[] {
  return stacks.flatMap(({ spec, source }) => toProblems(compile(spec, ANY_WORLD).findings, source));
}

export async function run({ args, options, terminal }: Invocation): Promise<ExitStatus> {
  const loaded = await loadStacks(args);
  const problems = [...loaded.problems, ...compilerProblems(loaded)].sort((a, b) =>
    a.file === b.file ? a.line - b.line || a.column - b.column : 0,
  );
  const valid = !hasErrors(problems);
  const status = valid ? 0 : 2;

  if (isStructured(options.output)) {
    const stacks = loaded.stacks.map(({ spec, file }) => ({ name: spec.name, file: file.name }));
    await printValue({ valid, stacks, problems }, options.output, terminal.out);
    return status;
  }
  printProblems(problems, loaded.files, terminal.err);
  if (!valid) {
    terminal.err.line(refusalLine(problems, terminal.err).replace("; nothing was changed", ""));
    return status;
  }
  for (const { spec, file } of loaded.stacks) {
    const warnings = problems.filter((problem) => problem.file === file.name).length;
    const note = warnings === 0 ? "" : ` (${plural(warnings, "warning")})`;
    terminal.out.line(options.output === "name" ? `stack/${spec.name}` : `stack/${spec.name} valid${note}`);
  }
  return status;
}
