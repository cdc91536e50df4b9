/** Names of the stacks that this user has applied, from the state folder: no controller is asked or started. */

import { existsSync, readdirSync } from "node:fs";
import { hereAndNow, resolvePaths, stackFile, stacksDir } from "../../reconcile/paths.js";

export async function appliedStackNames(env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const paths = resolvePaths({ ...hereAndNow(), env });
  const folder = stacksDir(paths);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => existsSync(stackFile(paths, name)))
    .sort();
}
