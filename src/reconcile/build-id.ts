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

/** Name, length and time of change of every file of the program: cheap to read, and different after every build. */
export function buildId(): string {
  const hash = createHash("sha256");
  const rooms = readdirSync(PROGRAM, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(js|ts)$/.test(name) && !name.endsWith(".d.ts"))
    .sort();
  for (const name of rooms) {
    const { size, mtimeMs } = statSync(join(PROGRAM, name));
    hash.update(`${name}\0${size}\0${mtimeMs}\n`);
  }
  return `${packageVersion()}-${hash.digest("hex").slice(0, 12)}`;
}
