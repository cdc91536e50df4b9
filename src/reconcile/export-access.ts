/** Who may open an export: owner, group and mode of its node or socket, and its stable name. */

import { chmod, chown, mkdir, readdir, readlink, rm, rmdir, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Access } from "../compile/table.js";
import { StackError } from "../errors.js";
import { idOf } from "./preflight/accounts.js";
import { fileError } from "./state-file.js";

/** Gives a node or socket its owner, group and mode. @throws StackError bad-value, permission-denied */
export async function applyAccess(path: string, { owner, group, mode }: Access): Promise<void> {
  const uid = owner === null ? null : await known("passwd", owner);
  const gid = group === null ? null : await known("group", group);
  try {
    // Closed first: with its new owner, the old mode might show it to too many.
    if (uid !== null || gid !== null) {
      await chmod(path, 0o600);
      await chown(path, uid ?? -1, gid ?? -1);
    }
    await chmod(path, Number.parseInt(mode, 8));
  } catch (error) {
    throw fileError(error, `cannot set owner and mode of ${path}`, path);
  }
}

async function known(kind: "passwd" | "group", name: string): Promise<number> {
  const id = await idOf(kind, name);
  if (id === null) throw new StackError("bad-value", `this host knows no ${kind} entry "${name}"`);
  return id;
}

/** /dev/ublk-stack/STACK/EXPORT → the block device. */
export const linkPath = (linkDir: string, stack: string, name: string) => join(linkDir, stack, name);

/** Makes a stable name point to a device; nothing happens when it does already. */
export async function placeLink(path: string, target: string): Promise<void> {
  try {
    if ((await linkTarget(path)) === target) return;
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await rm(path, { force: true });
    await symlink(target, path);
  } catch (error) {
    throw fileError(error, `cannot make the link ${path}`, path);
  }
}

/** Removes a stable name, and its folder with the last one. */
export async function removeLink(path: string): Promise<void> {
  await rm(path, { force: true });
  try {
    await rmdir(dirname(path));
    await rmdir(dirname(dirname(path)));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOTEMPTY" && code !== "ENOENT" && code !== "EEXIST") {
      throw fileError(error, `cannot remove the folder of ${basename(path)}`, path);
    }
  }
}

/** Removes the stable names of exports that a stack no longer has. */
export async function pruneLinks(folder: string, keep: readonly string[]): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (!keep.includes(name)) await rm(join(folder, name));
  }
}

/** None for a folder that is not there: a stack whose first devices are members has no export yet. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function linkTarget(path: string): Promise<string | null> {
  try {
    return await readlink(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EINVAL") return null;
    throw error;
  }
}
