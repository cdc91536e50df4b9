/**
 * The stacks that are desired, one file each: STATE/stacks/NAME/stack.json. A file that cannot be read is one stack's
 * misfortune and nobody else's.
 */

import { readdir, rmdir } from "node:fs/promises";
import { isAbsolute } from "node:path";
import type { Table } from "../compile/table.js";
import { StackError } from "../errors.js";
import { checkDocument, type StackDocument } from "../spec/index.js";
import { type Paths, stackFile, stackStateDir, stacksDir } from "./paths.js";
import { readJson, removeFile, writeJson } from "./state-file.js";

export interface StoredStack {
  readonly version: 1;
  readonly name: string;
  readonly document: StackDocument;
  /** Absolute path of the folder that relative paths start from. */
  readonly baseDir: string;
  /** What the compiler made of the document: what is desired. */
  readonly table: Table;
  /** The last table under which the stack was ready, which says what the data files hold; null before the first. */
  readonly applied: Table | null;
  /** Absolute paths of leaves (files and block devices) by layer name. */
  readonly paths: Readonly<Record<string, string>>;
  /** Data files that an apply made, absolute paths. Kept by delete. */
  readonly createdFiles: readonly string[];
  /** A delete has begun: whoever finds this finishes it. */
  readonly deleting: boolean;
}

/** A stack as found in the state folder. */
export type Found = { readonly name: string } & (
  | { readonly stack: StoredStack }
  | { readonly error: StackError }
);

export class StackStore {
  readonly #paths: Paths;

  constructor(paths: Paths) {
    this.#paths = paths;
  }

  /** Every stack, by name; what cannot be read is told beside the rest. */
  async list(): Promise<Found[]> {
    const names = await namesIn(stacksDir(this.#paths));
    const found = await Promise.all(
      names.map(async (name): Promise<Found | null> => {
        try {
          const stack = await this.read(name);
          return stack === undefined ? null : { name, stack };
        } catch (error) {
          if (!(error instanceof StackError)) throw error;
          return { name, error };
        }
      }),
    );
    return found.filter((entry) => entry !== null);
  }

  /** @returns undefined when there is no such stack. @throws StackError state-corrupt */
  async read(name: string): Promise<StoredStack | undefined> {
    const path = stackFile(this.#paths, name);
    const value = await readJson(path);
    if (value === undefined) return undefined;
    if (isStoredStack(value) && value.name === name) return value;
    throw new StackError("state-corrupt", `${path} does not hold stack "${name}"`, { path, stack: name });
  }

  async write(stack: StoredStack): Promise<void> {
    await writeJson(stackFile(this.#paths, stack.name), stack);
  }

  /** Forgets a stack. What servers keep beside it (the state of mirrors) stays, for when it is applied again. */
  async remove(name: string): Promise<void> {
    await removeFile(stackFile(this.#paths, name));
    try {
      await rmdir(stackStateDir(this.#paths, name));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOTEMPTY" && code !== "ENOENT") throw error;
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Whether a file holds what `write` writes. The document is checked as if it had just come from the user. */
function isStoredStack(value: unknown): value is StoredStack {
  if (typeof value !== "object" || value === null) return false;
  const { version, document, baseDir, table, applied, paths, createdFiles, deleting } =
    value as Partial<StoredStack>;
  return (
    version === 1 &&
    checkDocument(document).document !== null &&
    typeof baseDir === "string" &&
    isAbsolute(baseDir) &&
    table?.version === 1 &&
    Array.isArray(table.devices) &&
    (applied === null || Array.isArray(applied?.devices)) &&
    typeof paths === "object" &&
    paths !== null &&
    Array.isArray(createdFiles) &&
    typeof deleting === "boolean"
  );
}
