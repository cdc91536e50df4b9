/** From FILE arguments to texts: files, folders of files, and standard input. */

import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { StackError } from "../../errors.js";

export interface StackFile {
  /** As messages show it: the path as it was given, or "<stdin>". */
  readonly name: string;
  readonly text: string;
  /** Absolute; what relative paths in the file start from. For standard input the current folder. */
  readonly baseDir: string;
}

const STDIN = "-";
const STACK_FILE = /\.(ya?ml|json)$/;

/** Whether a word means a file rather than the name of a stack: a DNS label has neither dot nor slash. */
export function meansFile(word: string): boolean {
  return word === STDIN || /[./]/.test(word);
}

function unreadable(path: string, error: unknown): StackError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: "there is no such file",
    EACCES: "permission denied",
    ENOTDIR: "a part of the path is no folder",
    ELOOP: "too many symbolic links",
  };
  const reason = reasons[code] ?? (error instanceof Error ? error.message : String(error));
  return new StackError(
    "file-unreadable",
    `cannot read ${path}: ${reason}`,
    { path, errno: code },
    { cause: error },
  );
}

function readOne(path: string): StackFile {
  try {
    return { name: path, text: readFileSync(path, "utf8"), baseDir: dirname(resolve(path)) };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** The stack files of a folder by name, not of its subfolders. */
function filesOf(folder: string): string[] {
  const found = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => STACK_FILE.test(entry.name) && !entry.isDirectory())
    .map((entry) => join(folder, entry.name))
    .sort();
  if (found.length === 0) {
    throw new StackError("file-unreadable", `the folder ${folder} holds no .yaml, .yml or .json file`, {
      path: folder,
    });
  }
  return found;
}

function expand(path: string): string[] {
  try {
    return statSync(path).isDirectory() ? filesOf(path) : [path];
  } catch (error) {
    if (error instanceof StackError) throw error;
    throw unreadable(path, error);
  }
}

/**
 * @param words FILE arguments, at least one
 * @throws StackError "usage" or "file-unreadable"
 */
export async function readStackFiles(
  words: readonly string[],
  stdin: NodeJS.ReadableStream,
): Promise<StackFile[]> {
  if (words.length === 0)
    throw new StackError("usage", "no file was given: name one, or '-' for standard input");
  if (words.filter((word) => word === STDIN).length > 1) {
    throw new StackError("usage", "'-' was given twice, and standard input can be read only once");
  }
  const files: StackFile[] = [];
  for (const word of words) {
    if (word === STDIN) files.push({ name: "<stdin>", text: await text(stdin), baseDir: process.cwd() });
    else files.push(...expand(word).map(readOne));
  }
  return files;
}
