/**
 * The folder in which an exploration has its disks. Its name says whose it is, so that the next exploration can clear
 * away what one left that was killed: the process, when that began, in which namespace and since which start of the
 * machine. A folder whose owner cannot be judged from here is left alone.
 */

import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTmpfs } from "../reconcile/paths.js";

const PREFIX = "ublk-stack-disks-";
const NAME = /^ublk-stack-disks-([0-9a-f]+-\d+)-(\d+)-(\d+)-[^-]+$/;

/** Where rebuilt disks are: in memory if there is any tmpfs. */
export function memoryFolder(): string {
  const shared = "/dev/shm";
  return onTmpfs(tmpdir()) || !existsSync(shared) ? tmpdir() : shared;
}

/** When a process began, in the kernel's ticks; null when there is none. */
function beginOf(pid: string): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the name, in which anything may stand.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ESRCH") throw error;
    return null;
  }
}

/** Where process numbers mean what they mean here. */
function worldHere(): string {
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8);
  const space = /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  return `${boot}-${space}`;
}

const unescaped = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));

function mountsBelow(folder: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => unescaped(line.split(" ")[4] ?? ""))
    .filter((path) => path.startsWith(`${folder}/`));
}

/** At once, also where somebody still has a file of it open. It may be that nothing is mounted. */
export function unmountNow(path: string): void {
  const root = process.getuid?.() === 0;
  const [program, ...args] = root ? ["umount", "-l"] : ["fusermount3", "-u", "-z"];
  spawnSync(program as string, [...args, "--", path], { stdio: "ignore" });
}

export async function removeScratch(folder: string): Promise<void> {
  for (const path of mountsBelow(folder)) unmountNow(path);
  await rm(folder, { recursive: true, force: true });
}

/** Removes what explorations of ours left here that do not run any more. */
async function removeStale(memory: string): Promise<void> {
  const world = worldHere();
  for (const name of readdirSync(memory)) {
    const [, itsWorld, pid, begin] = NAME.exec(name) ?? [];
    if (pid === undefined || itsWorld !== world || beginOf(pid) === begin) continue;
    const folder = join(memory, name);
    const owner = lstatSync(folder, { throwIfNoEntry: false })?.uid;
    if (owner === process.getuid?.()) await removeScratch(folder);
  }
}

export async function openScratch(): Promise<string> {
  const memory = memoryFolder();
  await removeStale(memory);
  const self = String(process.pid);
  return await mkdtemp(join(memory, `${PREFIX}${worldHere()}-${self}-${beginOf(self)}-`));
}
