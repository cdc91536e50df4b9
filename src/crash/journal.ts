/**
 * What an exploration keeps in its folder, so that it can go on, and show a state again:
 *
 *   session.json     what is explored and how, written once
 *   journal.ndjson   one line per checked content: its key, the state that it was checked in, and what came out; or
 *                    the words why all before it, and what checks read from then on, is not to be trusted
 *   write.log, base.img   when the explorer recorded the log itself
 *
 * The journal is only ever added to; a last line that a crash has cut short is one check to do again.
 */

import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { StackError } from "../errors.js";
import type { CommandResult } from "./command.js";

export interface Verdict {
  readonly key: string;
  readonly id: string;
  readonly ok: boolean;
  /** Of a check that failed. */
  readonly result?: CommandResult;
}

const journalFile = (folder: string) => join(folder, "journal.ndjson");
export const sessionFile = (folder: string) => join(folder, "session.json");

/** From here on every content is checked, on a plain file. */
interface Doubt {
  readonly doubt: string;
}

export class Journal {
  readonly #fd: number;
  readonly verdicts = new Map<string, Verdict>();
  #doubt: string | null = null;

  /** Opens the journal of a folder, or begins one. @throws StackError state-corrupt */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const path = journalFile(folder);
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    const whole = text.lastIndexOf("\n") + 1;
    for (const [number, line] of text.slice(0, whole).split("\n").entries()) {
      if (line === "") continue;
      const found = parseLine(line);
      if (found === null) {
        throw new StackError("state-corrupt", `${path}:${number + 1} is no line of a journal`, { path });
      }
      if ("doubt" in found) this.#begin(found.doubt);
      else this.verdicts.set(found.key, found);
    }
    this.#fd = openSync(path, "a", 0o600);
    ftruncateSync(this.#fd, Buffer.byteLength(text.slice(0, whole)));
  }

  add(verdict: Verdict): void {
    this.verdicts.set(verdict.key, verdict);
    this.#write(verdict);
  }

  /** Why what checks read is of no use; null when nothing speaks against it. */
  get doubt(): string | null {
    return this.#doubt;
  }

  /** Forgets all verdicts, and that reads are of use, for good. */
  doubtReads(doubt: string): void {
    this.#begin(doubt);
    this.#write({ doubt });
  }

  #begin(doubt: string): void {
    this.#doubt = doubt;
    this.verdicts.clear();
  }

  #write(line: Verdict | Doubt): void {
    writeSync(this.#fd, `${JSON.stringify(line)}\n`);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function parseLine(line: string): Verdict | Doubt | null {
  try {
    const value = JSON.parse(line) as Partial<Verdict & Doubt> | null;
    if (typeof value?.doubt === "string") return { doubt: value.doubt };
    const known = typeof value?.key === "string" && typeof value.id === "string";
    return known && typeof value.ok === "boolean" ? (value as Verdict) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
