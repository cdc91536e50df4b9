/** Which build this is, so that a newer program replaces the controller of an older one. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(import.meta.url);
/** The folder of the compiled program (dist), or of the sources in a test. */
const PROGRAM = dirname(dirname(HERE));
/** The root of the package. */
export const PACKAGE_ROOT = dirname(PROGRAM);

export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"));
  return (manifest as { version: string }).version;
}

/** What deploy/build.sh has written beside the compiled program: the same for the same code, and quick to read. */
function builtAs(): string | null {
  try {
    return readFileSync(join(PROGRAM, "built"), "utf8").trim();
  } catch {
    return null;
  }
}

/** Name, length and time of change of every file of the program: for one that runs from its sources. */
function hashOfFiles(): string {
  const hash = createHash("sha256");
  const rooms = readdirSync(PROGRAM, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(js|ts)$/.test(name) && !name.endsWith(".d.ts"))
    .sort();
  for (const name of rooms) {
    const { size, mtimeMs } = statSync(join(PROGRAM, name));
    hash.update(`${name}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest("hex").slice(0, 12);
}

export function buildId(): string {
  return `${packageVersion()}-${builtAs() || hashOfFiles()}`;
}
