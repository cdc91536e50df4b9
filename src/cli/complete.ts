/**
 * What the shell may offer while somebody presses Tab. The scripts of completion.ts ask
 *
 *     ublk-stack complete -- WORD...          the words after the program's name; the last is the one to complete
 *
 * and get one candidate per line, `value TAB description`, then `:files` where stack files fit too, `:any` where any file
 * does, else `:none`.
 * It reads the registry only, not the parser: an answer has to be there before the finger is off the key.
 */

import type { OptionSpec } from "./options.js";
import { type ArgumentSpec, findVerb, VERBS, type VerbSpec } from "./registry.js";

interface Candidate {
  readonly value: string;
  readonly description: string;
}

export interface Answer {
  readonly candidates: readonly Candidate[];
  readonly files: "none" | "files" | "any";
}

/** What was applied; asked for only where it fits. */
export interface Names {
  stacks(): Promise<readonly string[]>;
  /** Layers that are images, as STACK/LAYER. */
  images(): Promise<readonly string[]>;
}

const NOTHING: Answer = { candidates: [], files: "none" };
const HELP: OptionSpec = { flags: "-h, --help", description: "show help" };
const VERSION: OptionSpec = { flags: "-V, --version", description: "print the version" };

interface Flags {
  readonly names: readonly string[];
  readonly takesValue: boolean;
}

function flagsOf(option: OptionSpec): Flags {
  const [names = "", value] = option.flags.split(/\s+(?=<)/);
  return { names: names.split(/,\s*/), takesValue: value !== undefined };
}

/** bash breaks words at "=": `--output=js` arrives as three. Joined again, and remembered. */
function joinBroken(words: readonly string[]): { words: string[]; broken: boolean } {
  const joined: string[] = [];
  let broken = false;
  for (let index = 0; index < words.length; index += 1) {
    const previous = joined.at(-1);
    if (words[index] === "=" && previous?.startsWith("--")) {
      const value = words[index + 1] ?? "";
      joined[joined.length - 1] = `${previous}=${value}`;
      index += 1;
      broken = index >= words.length - 1;
    } else {
      joined.push(words[index] ?? "");
    }
  }
  return { words: joined, broken };
}

function optionsOf(verb: VerbSpec | undefined): readonly OptionSpec[] {
  return verb === undefined ? [HELP, VERSION] : [...verb.options, HELP];
}

function findOption(verb: VerbSpec | undefined, name: string): OptionSpec | undefined {
  return optionsOf(verb).find((option) => flagsOf(option).names.includes(name));
}

function startingWith(prefix: string, candidates: readonly Candidate[]): Answer {
  return { candidates: candidates.filter(({ value }) => value.startsWith(prefix)), files: "none" };
}

function offerFlags(verb: VerbSpec | undefined, word: string): Answer {
  const candidates = optionsOf(verb).flatMap((option) =>
    flagsOf(option)
      .names.filter((name) => name.startsWith("--") || word === name)
      .map((value) => ({ value, description: option.description })),
  );
  return startingWith(word, candidates);
}

/** @param prefix stands before every value: "--output=" where the shell keeps it in the word */
function offerValues(option: OptionSpec, word: string, prefix: string): Answer {
  if (option.offer === "files") return { candidates: [], files: "files" };
  const values = (option.choices ?? []).map((value) => ({ value: `${prefix}${value}`, description: "" }));
  return startingWith(`${prefix}${word}`, values);
}

async function offerArgument(argument: ArgumentSpec, word: string, names: Names): Promise<Answer> {
  if (argument.choices !== undefined) {
    return startingWith(
      word,
      argument.choices.map((value) => ({ value, description: "" })),
    );
  }
  const named = (values: readonly string[], description: string): Answer =>
    startingWith(
      word,
      values.map((value) => ({ value, description })),
    );
  switch (argument.offer) {
    case "files":
      return { candidates: [], files: "files" };
    case "stacks":
      return named(await names.stacks(), "stack");
    case "files-or-stacks":
      return { ...named(await names.stacks(), "stack"), files: "files" };
    case "layers":
      return named(await names.images(), "layer");
    case "images":
      return { ...named(await names.images(), "layer"), files: "any" };
    default:
      return NOTHING;
  }
}

/** How many positional words stand among the words after the verb; values of options are not. */
function countPositionals(verb: VerbSpec, words: readonly string[]): number {
  let count = 0;
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] ?? "";
    if (word === "--") return count + words.length - index - 1;
    if (!word.startsWith("-") || word === "-") {
      count += 1;
    } else {
      const option = findOption(verb, word);
      if (option !== undefined && flagsOf(option).takesValue) index += 1;
    }
  }
  return count;
}

/**
 * @param given words after the program's name; the last one, possibly empty, is being typed
 */
export async function complete(given: readonly string[], names: Names): Promise<Answer> {
  const { words, broken } = joinBroken(given);
  const word = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const verbName = before.find((text) => !text.startsWith("-"));
  const verb = verbName === undefined ? undefined : findVerb(verbName);
  if (verbName !== undefined && verb === undefined) return NOTHING;

  const onlyWords = before.includes("--");
  if (!onlyWords && word.startsWith("-") && word !== "-") {
    const [name = "", value] = splitAtEqual(word);
    if (value === undefined) return offerFlags(verb, word);
    const option = findOption(verb, name);
    return option === undefined ? NOTHING : offerValues(option, value, broken ? "" : `${name}=`);
  }
  if (verb === undefined) {
    return startingWith(
      word,
      VERBS.map(({ name, summary }) => ({ value: name, description: summary })),
    );
  }
  const previous = onlyWords ? undefined : findOption(verb, before.at(-1) ?? "");
  if (previous !== undefined && flagsOf(previous).takesValue) return offerValues(previous, word, "");

  const position = countPositionals(verb, before.slice(before.indexOf(verb.name) + 1));
  const last = verb.arguments.at(-1);
  const argument = verb.arguments[position] ?? (last?.variadic ? last : undefined);
  return argument === undefined ? NOTHING : await offerArgument(argument, word, names);
}

function splitAtEqual(word: string): [string, string | undefined] {
  const at = word.indexOf("=");
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

/** The answer as text; see the head of this file. */
export function renderAnswer({ candidates, files }: Answer): string {
  const lines = candidates.map(({ value, description }) => `${value}\t${description}`);
  return [...lines, `:${files}`, ""].join("\n");
}

/** @param words what follows `complete`: usually "--" first */
export async function answerShell(words: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const given = words[0] === "--" ? words.slice(1) : words;
  const { appliedImageNames, appliedStackNames } = await import("./common/stack-names.js");
  const names = { stacks: () => appliedStackNames(env), images: () => appliedImageNames(env) };
  return renderAnswer(await complete(given, names));
}
