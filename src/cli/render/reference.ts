/** docs/cli.md from the registry, so that the page and the program cannot differ. Pure. */

import type { OptionSpec } from "../options.js";
import { type ArgumentSpec, VERBS, type VerbSpec } from "../registry.js";

const HEAD = `<!-- Generated from src/cli/registry.ts. To renew it: npx vitest run test/cli/reference.test.ts -u -->

# The command

    ublk-stack VERB [argument...] [option...]

A word with a dot or a slash, or \`-\` for standard input, means a stack file (or a folder of them); any other word is the
name of a stack. Files may hold several documents.

**Exit codes.** 0 success. 1 failure; for \`diff\`: there are differences. 2 bad usage or a stack that is refused, in which
case nothing was changed; for \`diff\`: it could not be told. 130 interrupted: what the controller has begun goes on. The
verb \`image\` has 1 for all errors, and numbers of its own for what a check finds.

**Output.** A terminal gets colours, aligned columns and live progress; a pipe or file gets plain text. \`NO_COLOR\` and
\`FORCE_COLOR\` are honoured. Results go to standard output; warnings, errors and progress to standard error. With
\`-o json\` or \`-o yaml\`, standard output is one value; that of \`status\` is described by schema/status.v1.schema.json.

**Folders.** State (which stacks there are, logs) is in /var/lib/ublk-stack and sockets are in /run/ublk-stack for root; other
users have \`$XDG_STATE_HOME/ublk-stack\` and \`$XDG_RUNTIME_DIR/ublk-stack\`. \`UBLK_STACK_STATE_DIR\` and
\`UBLK_STACK_RUN_DIR\` override them.

**Completion.** \`npm run install-system\` installs it for all three shells. By hand:

    bash    echo 'source <(ublk-stack completion bash)' >> ~/.bashrc
    zsh     ublk-stack completion zsh > "\${fpath[1]}/_ublk-stack"
    fish    ublk-stack completion fish > ~/.config/fish/completions/ublk-stack.fish
`;

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

function argumentText({ name, required, variadic }: ArgumentSpec): string {
  const inner = variadic ? `${name}...` : name;
  return required ? `<${inner}>` : `[${inner}]`;
}

function argumentRow(spec: ArgumentSpec): string {
  const choices = spec.choices === undefined ? "" : `: ${spec.choices.join(", ")}`;
  return `| \`${cell(argumentText(spec))}\` | ${cell(spec.description)}${choices} |`;
}

function optionRow({ flags, description, choices, fallback }: OptionSpec): string {
  const values = choices === undefined ? "" : `: ${choices.join(", ")}`;
  const standard = fallback === undefined ? "" : ` (default: ${fallback.shown})`;
  return `| \`${cell(flags)}\` | ${cell(description)}${values}${standard} |`;
}

function verbSection(verb: VerbSpec): string {
  const usage = ["ublk-stack", verb.name, ...verb.arguments.map(argumentText)].join(" ");
  const rows = [...verb.arguments.map(argumentRow), ...verb.options.map(optionRow)];
  const table = rows.length === 0 ? [] : ["", "| | |", "|---|---|", ...rows];
  const details = verb.details === undefined ? [] : ["", verb.details];
  return [
    `### \`${usage}\``,
    "",
    `${verb.summary.charAt(0).toUpperCase()}${verb.summary.slice(1)}.`,
    ...details,
    ...table,
    "",
    ...verb.examples.map((example) => `    ublk-stack ${example}`),
    "",
  ].join("\n");
}

/** The whole page. */
export function renderReference(): string {
  const groups = [...new Set(VERBS.map(({ group }) => group))];
  const chapters = groups.flatMap((group) => [
    `## ${group}`,
    "",
    ...VERBS.filter((verb) => verb.group === group).map(verbSection),
  ]);
  return [HEAD, ...chapters].join("\n");
}
