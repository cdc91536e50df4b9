/** Names of the stacks that this user has applied, from the state folder: no controller is asked or started. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { hereAndNow, resolvePaths, stackFile, stacksDir } from "../../reconcile/paths.js";

export async function appliedStackNames(env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const paths = resolvePaths({ ...hereAndNow(), env });
  const folder = stacksDir(paths);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => existsSync(stackFile(paths, name)))
    .sort();
}

interface Stored {
  readonly table?: {
    readonly devices?: readonly { readonly layers?: readonly { name: string; type: string }[] }[];
  };
}

/** Layers of type qcow2, as STACK/LAYER. A state file that cannot be read offers none: `status` is who complains. */
export async function appliedImageNames(env: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const paths = resolvePaths({ ...hereAndNow(), env });
  const stacks = await appliedStackNames(env);
  return stacks.flatMap((stack) => {
    try {
      const { table } = JSON.parse(readFileSync(stackFile(paths, stack), "utf8")) as Stored;
      const layers = (table?.devices ?? []).flatMap((device) => device.layers ?? []);
      return layers.filter(({ type }) => type === "qcow2").map(({ name }) => `${stack}/${name}`);
    } catch {
      return [];
    }
  });
}
