/** The parser, made from the registry: it reads a command line into an Invocation, or says what is wrong with it. */

import { Argument, Command, type CommanderError, InvalidArgumentError, Option } from "commander";
import { StackError } from "../errors.js";
import type { Options } from "./common/invocation.js";
import type { Sink, Terminal } from "./common/terminal.js";
import { BadOption, type OptionSpec } from "./options.js";
import { type ArgumentSpec, VERBS, type VerbSpec } from "./registry.js";

/** A command line that was understood. */
export interface Parsed {
  readonly verb: VerbSpec;
  readonly args: readonly string[];
  readonly options: Options;
  readonly rawOptions: Readonly<Record<string, unknown>>;
}

function toOption(spec: OptionSpec): Option {
  const option = new Option(spec.flags, spec.description);
  if (spec.choices !== undefined) option.choices([...spec.choices]);
  if (spec.fallback !== undefined) option.default(spec.fallback.value, spec.fallback.shown);
  const parse = spec.parse;
  if (parse !== undefined) {
    option.argParser((text: string, previous: unknown) => {
      try {
        return parse(text, previous);
      } catch (error) {
        if (error instanceof BadOption) throw new InvalidArgumentError(error.message);
        throw error;
      }
    });
  }
  return option;
}

function toArgument(spec: ArgumentSpec): Argument {
  const name = spec.variadic ? `${spec.name}...` : spec.name;
  const argument = new Argument(spec.required ? `<${name}>` : `[${name}]`, spec.description);
  if (spec.choices !== undefined) argument.choices([...spec.choices]);
  return argument;
}

/** The terminal's width where it makes sense, and no more than is easily read. */
function helpWidth({ columns }: Sink): number {
  return columns >= 40 ? Math.min(columns, 110) : 110;
}

function styleHelp(command: Command, sink: Sink): void {
  const { bold, cyan } = sink.colors;
  command.configureHelp({
    sortSubcommands: false,
    showGlobalOptions: false,
    // Nearly every verb has options: that they are there says nothing, and leaves no room for what it does.
    subcommandTerm: (verb) => `${verb.name()} ${verb.usage().replace(/^\[options\] ?/, "")}`.trimEnd(),
    styleTitle: (text) => bold(text),
    styleCommandText: (text) => cyan(text),
    styleSubcommandText: (text) => cyan(text),
    styleOptionText: (text) => cyan(text),
    styleArgumentText: (text) => cyan(text),
    styleDescriptionText: (text) => text,
    styleOptionDescription: (text) => text,
    styleSubcommandDescription: (text) => text,
    helpWidth: helpWidth(sink),
  });
  // Commander prints usage errors through these; ours are printed by common/report.ts, so they stay silent here.
  command.configureOutput({
    writeOut: (text) => sink.write(text),
    writeErr: () => {},
    getOutHasColors: () => true,
    getOutHelpWidth: () => helpWidth(sink),
  });
  command.exitOverride();
  command.helpOption("-h, --help", "show this help");
  command.helpCommand(false);
}

function examplesText(verb: VerbSpec, sink: Sink): string {
  const lines = verb.examples.map((example) => `  ublk-stack ${example}`);
  return `\n${sink.colors.bold(lines.length === 1 ? "Example:" : "Examples:")}\n${lines.join("\n")}`;
}

function addVerb(program: Command, verb: VerbSpec, sink: Sink, found: (parsed: Parsed) => void): void {
  const command = program.command(verb.name);
  command.summary(verb.summary);
  const opening = `${verb.summary.charAt(0).toUpperCase()}${verb.summary.slice(1)}.`;
  command.description(verb.details === undefined ? opening : `${opening}\n\n${verb.details}`);
  command.helpGroup(`${verb.group}:`);
  for (const spec of verb.arguments) command.addArgument(toArgument(spec));
  for (const spec of verb.options) command.addOption(toOption(spec));
  if (verb.examples.length > 0) command.addHelpText("after", () => examplesText(verb, sink));
  styleHelp(command, sink);
  command.action(() => {
    const rawOptions = command.opts();
    found({ verb, args: command.args, options: rawOptions, rawOptions });
  });
}

/** The whole command tree; `found` is called with what the line asks for. */
export function createProgram(terminal: Terminal, version: string, found: (parsed: Parsed) => void): Command {
  const program = new Command("ublk-stack");
  program.description(
    "Storage stacks from YAML files: ublk devices where the kernel has ublk, NBD exports elsewhere.",
  );
  program.version(version, "-V, --version", "print the version");
  program.usage("VERB [argument...] [option...]");
  styleHelp(program, terminal.out);
  for (const verb of VERBS) addVerb(program, verb, terminal.out, found);
  program.addHelpText(
    "after",
    "\n`ublk-stack VERB --help` says more about a verb; docs/cli.md has them all on one page.",
  );
  return program;
}

function isCommanderError(error: unknown): error is CommanderError {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    error.code.startsWith("commander.")
  );
}

/** Commander's words in ours: "error: unknown command 'x'\n(Did you mean y?)" → message and nearest name. */
function toUsageError(error: CommanderError): StackError {
  const text = error.message.replace(/^error: /, "");
  const [message = text] = text.split("\n");
  const nearest = /\(Did you mean (?:one of )?(.+?)\?\)/.exec(text)?.[1];
  return new StackError(
    "usage",
    message.replace(/\.$/, ""),
    nearest === undefined ? {} : { suggestion: nearest },
  );
}

/**
 * @param argv words after the program's name
 * @returns what to run; null when help or version was asked for and has been printed
 * @throws StackError "usage"
 */
export function parseCommandLine(
  argv: readonly string[],
  terminal: Terminal,
  version: string,
): Parsed | null {
  let parsed: Parsed | null = null;
  const program = createProgram(terminal, version, (result) => {
    parsed = result;
  });
  if (argv.length === 0) {
    throw new StackError("usage", "no verb was given", { help: program.helpInformation() });
  }
  try {
    program.parse([...argv], { from: "user" });
  } catch (error) {
    if (!isCommanderError(error)) throw error;
    if (error.exitCode === 0) return null;
    throw toUsageError(error);
  }
  return parsed;
}
