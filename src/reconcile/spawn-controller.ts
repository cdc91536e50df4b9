/** Starting a controller that outlives its starter. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { StackError } from "../errors.js";
import { ensurePrivateFolder, type Paths } from "./paths.js";

/** How long a controller may take to listen; it opens a socket and reads some small files. */
const START_MS = 180_000;
/** The descriptor on which a started controller says that it listens, or why not. */
export const READY_FD_VARIABLE = "UBLK_STACK_READY_FD";

const OWN_COMMAND = [
  process.execPath,
  fileURLToPath(new URL("../cli.js", import.meta.url)),
  "controller",
  "run",
];

/**
 * Starts a controller and returns when it listens, or when another one turned out to.
 * @throws StackError controller-unreachable with its last words
 */
export async function spawnController(paths: Paths, command: readonly string[] = OWN_COMMAND): Promise<void> {
  ensurePrivateFolder(paths.runDir);
  const [program, ...args] = command;
  if (program === undefined) throw new RangeError("a command needs a program");
  const child = spawn(program, args, {
    cwd: "/",
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      UBLK_STACK_STATE_DIR: paths.stateDir,
      UBLK_STACK_RUN_DIR: paths.runDir,
      [READY_FD_VARIABLE]: "3",
    },
  });
  const pipe = child.stdio[3] as Readable;
  const words = await firstLine(child, pipe, program);
  child.removeAllListeners();
  pipe.destroy();
  child.unref();
  if (words !== "listening" && words !== "another") {
    throw new StackError("controller-unreachable", `the controller did not start: ${words}`);
  }
}

function firstLine(child: ReturnType<typeof spawn>, pipe: Readable, program: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new StackError("timeout", `waited ${START_MS / 1000} s for the controller to listen`));
    }, START_MS);
    const settle = (words: string) => {
      clearTimeout(late);
      resolve(words);
    };
    child.once("error", (error) => settle(`cannot run ${program}: ${error.message}`));
    const lines = createInterface({ input: pipe });
    lines.once("line", settle);
    lines.once("close", () => settle("it ended without a word; see logs/controller.log in the state folder"));
  });
}
