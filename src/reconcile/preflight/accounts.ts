/** Users and groups by name, as the host's name services know them. */

import { execFile } from "node:child_process";
import { StackError } from "../../errors.js";

/** getent's exit code for a name that nobody knows. */
const UNKNOWN = 2;
/** A directory service may be far away. */
const LOOKUP_MS = 10_000;

/**
 * @param name a name, or a number as text
 * @returns null when there is none of that name
 */
export async function idOf(kind: "passwd" | "group", name: string): Promise<number | null> {
  if (/^\d{1,10}$/.test(name)) return Number(name);
  const line = await getent(kind, name);
  const id = Number.parseInt(line?.split(":")[2] ?? "", 10);
  return Number.isSafeInteger(id) ? id : null;
}

function getent(kind: string, name: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    execFile("getent", ["--", kind, name], { timeout: LOOKUP_MS }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else if (error.code === UNKNOWN) resolve(null);
      else reject(new StackError("timeout", `looking up ${kind} "${name}" failed: ${error.message}`));
    });
  });
}
