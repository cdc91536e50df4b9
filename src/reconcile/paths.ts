/**
 * Where everything is kept. root: /var/lib/ublk-stack and /run/ublk-stack; others: the XDG folders.
 *
 *   STATE/stacks/NAME/stack.json          what is desired; mirror-LAYER.json beside it is the server's
 *   STATE/logs/NAME.log                   what servers and controller say about a stack
 *   RUN/controller.sock, controller.pid   the controller; the pid file is its lock
 *   RUN/stacks/NAME/DEVICE/               one server: config.json, control.sock, pids, live
 *   RUN/stacks/NAME/nbd.sock              the stack's NBD exports
 */

import { createHash } from "node:crypto";
import { accessSync, constants, lstatSync, mkdirSync, statfsSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { StackError } from "../errors.js";

export interface Paths {
  readonly stateDir: string;
  readonly runDir: string;
  /** Where the files of memory layers are: on tmpfs. */
  readonly memoryDir: string;
  /** Stable names of block devices, for root only. */
  readonly linkDir: string | null;
}

export interface Folders {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
}

/** The world's own answer. */
export function hereAndNow(): Folders {
  return { env: process.env, uid: process.getuid?.() ?? 0 };
}

/** Longest path that a unix socket can be bound to on Linux: sun_path without its final NUL. */
export const MAX_SOCKET_PATH_BYTES = 107;

/** @returns the folders for a user; nothing is created or looked at but the file system type of the run folder */
export function resolvePaths({ env, uid }: Folders = hereAndNow()): Paths {
  const stateDir = env.UBLK_STACK_STATE_DIR || defaultStateDir(env, uid);
  const runDir = env.UBLK_STACK_RUN_DIR || defaultRunDir(env, uid);
  for (const [name, path] of [
    ["UBLK_STACK_STATE_DIR", stateDir],
    ["UBLK_STACK_RUN_DIR", runDir],
  ] as const) {
    if (!isAbsolute(path)) throw new StackError("usage", `${name} must be an absolute path, not "${path}"`);
  }
  return {
    stateDir: resolve(stateDir),
    runDir: resolve(runDir),
    memoryDir: onTmpfs(runDir) ? join(resolve(runDir), "stacks") : sharedMemoryDir(uid, resolve(runDir)),
    linkDir: uid === 0 ? "/dev/ublk-stack" : null,
  };
}

function defaultStateDir(env: Folders["env"], uid: number): string {
  if (uid === 0) return "/var/lib/ublk-stack";
  return join(env.XDG_STATE_HOME || join(env.HOME || homedir(), ".local/state"), "ublk-stack");
}

function defaultRunDir(env: Folders["env"], uid: number): string {
  if (uid === 0) return "/run/ublk-stack";
  return env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, "ublk-stack") : `/tmp/ublk-stack-${uid}`;
}

/** Run folders that are not on tmpfs share /dev/shm; the same stack in two of them is two stacks. */
function sharedMemoryDir(uid: number, runDir: string): string {
  return `/dev/shm/ublk-stack-${uid}-${createHash("sha256").update(runDir).digest("hex").slice(0, 8)}`;
}

const TMPFS_MAGIC = 0x01021994;

/** Whether a path, or the nearest folder above it that exists, is on tmpfs. */
export function onTmpfs(path: string): boolean {
  for (let at = resolve(path); ; at = resolve(at, "..")) {
    try {
      return statfsSync(at).type === TMPFS_MAGIC;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || at === "/") throw error;
    }
  }
}

/**
 * Makes a folder for this user alone, or checks that the one that is there is.
 * @throws StackError permission-denied when it is a link, somebody else's, or open to others' writes
 */
export function ensurePrivateFolder(path: string, uid: number = hereAndNow().uid): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StackError("permission-denied", `cannot make the folder ${path}`, {}, { cause: error });
  }
  const stat = lstatSync(path);
  if (!stat.isDirectory()) throw new StackError("permission-denied", `${path} is not a folder`, { path });
  if (stat.uid !== uid) {
    throw new StackError("permission-denied", `${path} belongs to user ${stat.uid}, not to ${uid}`, { path });
  }
  if ((stat.mode & 0o022) !== 0) {
    throw new StackError("permission-denied", `${path} can be written by others; expected mode 0700`, {
      path,
    });
  }
  accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
}

export const controllerSocket = (paths: Paths) => join(paths.runDir, "controller.sock");
export const controllerLock = (paths: Paths) => join(paths.runDir, "controller.pid");
export const controllerLog = (paths: Paths) => join(paths.stateDir, "logs", "controller.log");
export const logsDir = (paths: Paths) => join(paths.stateDir, "logs");
export const stacksDir = (paths: Paths) => join(paths.stateDir, "stacks");
export const stackStateDir = (paths: Paths, stack: string) => join(stacksDir(paths), stack);
export const stackFile = (paths: Paths, stack: string) => join(stackStateDir(paths, stack), "stack.json");
export const stackLog = (paths: Paths, stack: string) => join(logsDir(paths), `${stack}.log`);
export const stackRunDir = (paths: Paths, stack: string) => join(paths.runDir, "stacks", stack);
export const deviceRunDir = (paths: Paths, stack: string, device: string) =>
  join(stackRunDir(paths, stack), device);
export const nbdSocket = (paths: Paths, stack: string) => join(stackRunDir(paths, stack), "nbd.sock");
export const memoryFile = (paths: Paths, stack: string, layer: string) =>
  join(paths.memoryDir, stack, `${layer}.mem`);
