/** Which members of which mirrors hold current data: from the servers that run, else from what they left behind. */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { StackError } from "../errors.js";
import { type Paths, stackStateDir } from "./paths.js";
import type { ServerReport } from "./server-report.js";
import { readJson } from "./state-file.js";

interface MirrorFile {
  readonly members?: readonly { readonly name?: string; readonly state?: string }[];
}

/**
 * @returns members that are dropped or still being copied, by the mirror's layer name. A state file that cannot be
 *   read says nothing: its server then takes the first member for the only current one.
 */
export async function mirrorStates(
  paths: Paths,
  stack: string,
  views: readonly { readonly report: ServerReport | null }[],
): Promise<Map<string, string[]>> {
  const states = new Map<string, string[]>();
  const folder = stackStateDir(paths, stack);
  for (const file of await mirrorFiles(folder)) {
    const { members = [] } = await mirrorFile(join(folder, file));
    states.set(file.slice("mirror-".length, -".json".length), notInSync(members));
  }
  for (const { report } of views) {
    for (const mirror of report?.mirrors ?? []) states.set(mirror.layer, notInSync(mirror.members));
  }
  return states;
}

async function mirrorFile(path: string): Promise<MirrorFile> {
  try {
    return ((await readJson(path)) ?? {}) as MirrorFile;
  } catch (error) {
    if (error instanceof StackError && error.code === "state-corrupt") return {};
    throw error;
  }
}

const notInSync = (members: NonNullable<MirrorFile["members"]>) =>
  members.flatMap((member) => (member.state !== "in-sync" && member.name !== undefined ? [member.name] : []));

async function mirrorFiles(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => /^mirror-.*\.json$/.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
