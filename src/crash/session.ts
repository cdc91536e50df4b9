/** What is explored and how: written to the folder of an exploration once, and read when it goes on. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { StackError } from "../errors.js";
import type { CommandResult } from "./command.js";
import { sessionFile } from "./journal.js";
import { Contents } from "./model/contents.js";
import { buildHistory, type History } from "./model/history.js";
import { afterMark, type Log, parseLog } from "./model/log.js";
import { digestSector, openSource } from "./sources.js";

/** The stack that stands above the rebuilt disk when the check runs. */
export interface StackAbove {
  readonly name: string;
  /** A stack's spec; the layer that stands for the rebuilt disk has the path DISK_PATH. */
  readonly spec: object;
}

/** The path that is replaced by that of a job's own disk. */
export const DISK_PATH = "/rebuilt-disk";

export interface Session {
  readonly version: 1;
  /** Paths are absolute, or stand in the session's own folder. */
  readonly log: string;
  readonly base: string | null;
  readonly sizeBytes: number;
  readonly check: string;
  /** Where workload and check run. */
  readonly cwd: string;
  /** The check sees a fresh stack above the rebuilt disk; null: it sees the disk itself. */
  readonly above: StackAbove | null;
  readonly from: string | null;
  readonly subsets: number;
  readonly tears: number;
  readonly seed: number;
  readonly workload: (CommandResult & { readonly run: string }) | null;
}

export interface OpenSession {
  readonly session: Session;
  readonly log: Log;
  readonly history: History;
  /** Path of what the disk held before. */
  readonly base: string | null;
  readonly logPath: string;
  /** Tells this log, this disk and what was made of them from any other. */
  readonly fingerprint: string;
  close(): void;
}

/** Reads log and disk. @throws StackError log-unusable */
export function openSession(folder: string, session: Session): OpenSession {
  const logPath = resolve(folder, session.log);
  const basePath = session.base === null ? null : resolve(folder, session.base);
  const source = openSource(logPath, "log");
  const base = basePath === null ? null : openSource(basePath, "disk image");
  const close = () => {
    source.close();
    base?.close();
  };
  try {
    const log = parseLog(source, session.sizeBytes);
    const fromEntry = session.from === null ? 0 : afterMark(log, session.from);
    if (fromEntry === null) {
      const marks = log.entries.flatMap(({ mark }) => (mark === null ? [] : [`"${mark}"`]));
      const known = marks.length === 0 ? "it has no marks" : `its marks: ${marks.slice(0, 20).join(", ")}`;
      throw new StackError("log-unusable", `the log has no mark "${session.from}"; ${known}`);
    }
    const seen = createHash("sha256");
    const contents = new Contents((sector) => {
      const digest = digestSector(sector);
      seen.update(digest, "latin1");
      return digest;
    });
    const { sizeBytes: diskBytes } = session;
    const history = buildHistory({ log, source, base, contents, diskBytes, fromEntry });
    seen.update(JSON.stringify([log.entries, diskBytes, fromEntry]));
    return { session, log, history, base: basePath, logPath, fingerprint: seen.digest("hex"), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** @returns null when the folder holds no session @throws StackError state-corrupt */
export function readSession(folder: string): (Session & { fingerprint: string }) | null {
  const path = sessionFile(folder);
  if (!existsSync(path)) return null;
  const corrupt = () => new StackError("state-corrupt", `${path} does not hold an exploration`, { path });
  let value: Partial<Session & { fingerprint: string }> | null;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) throw corrupt();
    throw error;
  }
  const texts = [value?.log, value?.check, value?.cwd, value?.fingerprint];
  const numbers = [value?.sizeBytes, value?.subsets, value?.tears, value?.seed];
  const whole =
    value?.version === 1 &&
    texts.every((text) => typeof text === "string") &&
    numbers.every((number) => Number.isSafeInteger(number));
  if (!whole) throw corrupt();
  return value as Session & { fingerprint: string };
}

export const recordedLog = (folder: string) => join(folder, "write.log");
export const recordedBase = (folder: string) => join(folder, "base.img");
