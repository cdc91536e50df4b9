/** Servers of others, started for a measurement. */
import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** A server of NBD and its export. */
export interface Contender {
  name: string;
  uri: string;
  stop(): Promise<void>;
}

/** Whether somebody accepts: a socket's name is there before its owner listens. */
const listens = (socket: string): Promise<boolean> =>
  new Promise((resolve) => {
    const connection = connect(socket, () => resolve(true));
    connection.once("error", () => resolve(false)).once("connect", () => connection.destroy());
  });

/** A peer's process, ready once it listens. */
export async function peer(name: string, socket: string, uri: string, command: string[]): Promise<Contender> {
  const [program = "", ...args] = command;
  await rm(socket, { force: true }); // nbdkit leaves its own behind
  const child: ChildProcess = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  child.stderr?.on("data", (data: Buffer) => {
    complaint += data.toString();
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  for (let tries = 0; !(await listens(socket)); tries++) {
    if (child.exitCode !== null || tries > 200) throw new Error(`${name} did not start: ${complaint.trim()}`);
    await pause(25);
  }
  return {
    name,
    uri,
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
