/**
 * What an exploration keeps in its folder, so that it can go on, and show a state again:
 *
 *   session.json     what is explored and how, written once
 *   journal.ndjson   one line per checked content: its key, the state that it was checked in, and what came out
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

export class Journal {
  readonly #fd: number;
  readonly verdicts = new Map<string, Verdict>();

  /** Opens the journal of a folder, or begins one. @throws StackError state-corrupt */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const path = journalFile(folder);
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    const whole = text.lastIndexOf("\n") + 1;
    for (const [number, line] of text.slice(0, whole).split("\n").entries()) {
      if (line === "") continue;
      const verdict = parseVerdict(line);
      if (verdict === null) {
        throw new StackError("state-corrupt", `${path}:${number + 1} is no line of a journal`, { path });
      }
      this.verdicts.set(verdict.key, verdict);
    }
    this.#fd = openSync(path, "a", 0o600);
    ftruncateSync(this.#fd, Buffer.byteLength(text.slice(0, whole)));
  }

  add(verdict: Verdict): void {
    this.verdicts.set(verdict.key, verdict);
    writeSync(this.#fd, `${JSON.stringify(verdict)}\n`);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function parseVerdict(line: string): Verdict | null {
  try {
    const value = JSON.parse(line) as Partial<Verdict> | null;
    const known = typeof value?.key === "string" && typeof value.id === "string";
    return known && typeof value.ok === "boolean" ? (value as Verdict) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
