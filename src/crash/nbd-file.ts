/** An NBD export as a file, by nbdfuse(1), for programs that know files only. */

import { spawn } from "node:child_process";
import { access, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StackError } from "../errors.js";

const MOUNT_MS = 20_000;
const UNMOUNT_MS = 20_000;
const LOOK_MS = 20;

export interface NbdFile {
  readonly path: string;
  close(): Promise<void>;
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * The export as a file, if a command asks for one.
 * @returns null when it does not, and nothing can be had @throws StackError workload-failed when it does, timeout
 */
export async function fileFor(command: string, uri: string): Promise<NbdFile | null> {
  const file = await openNbdFile(uri);
  if (file === null && command.includes("UBLK_STACK_FILE")) {
    throw new StackError(
      "workload-failed",
      "UBLK_STACK_FILE needs nbdfuse (Debian: libnbd-bin) and /dev/fuse",
    );
  }
  return file;
}

/** @returns null where there is no nbdfuse or no FUSE @throws StackError timeout */
async function openNbdFile(uri: string): Promise<NbdFile | null> {
  if (!(await exists("/dev/fuse"))) return null;
  const folder = await mkdtemp(join(tmpdir(), "ublk-stack-file-"));
  const path = join(folder, "disk");
  const child = spawn("nbdfuse", [path, uri], { detached: true, stdio: ["ignore", "ignore", "pipe"] });
  let words = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    words += text;
  });
  const ended = new Promise<Error | null>((resolve) => {
    child.once("error", resolve);
    child.once("close", () => resolve(null));
  });
  const close = async () => {
    // It unmounts and ends.
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), UNMOUNT_MS);
    await ended;
    clearTimeout(late);
    await rm(folder, { recursive: true, force: true });
  };
  const deadline = performance.now() + MOUNT_MS;
  for (;;) {
    const over = await Promise.race([
      ended,
      new Promise<undefined>((go) => setTimeout(go, LOOK_MS, undefined)),
    ]);
    if (over !== undefined) {
      await rm(folder, { recursive: true, force: true });
      if (over !== null && (over as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw new StackError(
        "workload-failed",
        `nbdfuse did not mount ${uri}: ${over?.message ?? words.trim()}`,
      );
    }
    if (await exists(path)) return { path, close };
    if (performance.now() > deadline) {
      await close();
      throw new StackError("timeout", `waited ${MOUNT_MS / 1000} s for nbdfuse to mount ${uri}`);
    }
  }
}
