#!/usr/bin/env node
/**
 * qemu-io.mjs …: what QEMU's iotests start in place of qemu-io. It takes the same options and commands, and gives
 * qemu-io's own output, because qemu-io carries them out: on our server's NBD export of the image.
 *
 *     iotest ──► qemu-io.mjs ──"serve FILE"──► broker.ts, in the test runner ──► ublk-stack-server
 *                     │                                                             ▲    │
 *                     └──────► qemu-io -f raw nbd+unix://… ─────────── NBD ─────────┘    └──► FILE, as qcow2
 *
 * What is no local qcow2 image, and what NBD cannot say, goes to qemu-io as it is, and is counted by the broker: it
 * says nothing about us. Where our server refuses an image and QEMU does so too, QEMU's words are printed.
 *
 *     IOTESTS_BROKER    the broker's socket
 *     IOTESTS_QEMU_IO   the program qemu-io
 *     TEST_DIR          check's: its last part names the test
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { parseProgram } from "./command-line.mjs";
import { driversOwn, stepsOf } from "./steps.mjs";

const QEMU_IO = process.env.IOTESTS_QEMU_IO ?? "qemu-io";
const test = basename(process.env.TEST_DIR ?? "");
const argv = process.argv.slice(2);

/** One connection for the whole of this process: when it ends without "close", the server is killed. */
class Broker {
  #socket = createConnection(process.env.IOTESTS_BROKER ?? "");
  #lines = createInterface({ input: this.#socket })[Symbol.asyncIterator]();

  async ask(request) {
    this.#socket.write(`${JSON.stringify({ test, ...request })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the broker of the iotests is gone");
    return JSON.parse(value);
  }

  end() {
    this.#socket.destroy();
  }
}

const broker = new Broker();
const fromInput = parse().commands === null;

function parse() {
  try {
    return parseProgram(argv);
  } catch {
    return { image: null, commands: [] };
  }
}

/** Runs qemu-io with commands given as the test gave them; its exit status, or the signal that ended it. */
function qemuIo(args, commands) {
  const options = fromInput
    ? { input: commands.map((command) => `${command}\n`).join(""), stdio: ["pipe", "inherit", "inherit"] }
    : { stdio: "inherit" };
  const given = fromInput ? args : [...commands.flatMap((command) => ["-c", command]), ...args];
  const { status, signal, error } = spawnSync(QEMU_IO, given, options);
  if (error !== undefined) throw error;
  return signal ?? status;
}

/** A refusal of ours. QEMU is asked what it says to the same image. */
function refused(image, message) {
  const args = [...[...image.before, "quit"].flatMap((command) => ["-c", command]), ...image.args];
  const { status, stdout, stderr } = spawnSync(QEMU_IO, args, { encoding: "utf8" });
  if (status !== 0) process.stderr.write(stdout + stderr);
  else process.stderr.write(`qemu-io: can't open device ${image.path}: ${message}\n`);
  return 1;
}

async function throughServer(step) {
  const { image } = step;
  const { path, format, readOnly } = image;
  const { refused: refusal, uri } = await broker.ask({ op: "serve", path, format, readOnly });
  if (refusal !== undefined) return { status: refused(image, refusal), open: false };
  const idle = step.commands.length === 0 && !fromInput;
  const status = idle ? 0 : qemuIo(["-f", "raw", ...image.kept, uri], step.commands);
  // A qemu-io that is killed stands for a QEMU that is: nothing gets tidied up.
  await broker.ask({ op: typeof status === "string" ? "kill" : "close" });
  return { status, open: true };
}

async function throughQemu({ image, commands, why }) {
  if (image === null) return { status: qemuIo([], commands), open: true };
  await broker.ask({ op: "passed", why });
  // What only asks is not to change anything.
  const asks = why === "" && image.before.length === 0 && !image.readOnly;
  const args = asks ? ["-r", ...image.args] : image.args;
  return { status: qemuIo(args, [...image.before, ...commands]), open: true };
}

/** Why the broker could not serve this image; empty: it could, or says why not in a way that QEMU may agree with. */
async function foreign(image) {
  if (image === null || image.foreign !== "") return image?.foreign ?? "";
  return (await broker.ask({ op: "look", path: image.path, format: image.format })).foreign ?? "";
}

/** As if nobody stood here. */
async function passOn(why, input) {
  await broker.ask({ op: "passed", why });
  const { status, signal, error } = spawnSync(QEMU_IO, argv, {
    ...(input === undefined ? {} : { input }),
    stdio: [input === undefined ? "inherit" : "pipe", "inherit", "inherit"],
  });
  if (error !== undefined) throw error;
  return signal ?? status;
}

async function main() {
  const { image, commands } = parse();
  const why = await foreign(image);
  if (why !== "") return passOn(why);
  if (image === null && commands?.length === 0) return passOn("no image");
  const input = commands === null ? readFileSync(0, "utf8") : undefined;
  const given = commands ?? input.split("\n").filter((line) => line !== "");
  const steps = stepsOf(image, given);
  const reasons = await Promise.all(steps.map((step) => foreign(step.image)));
  const whole =
    driversOwn(given) || reasons.find((reason) => reason !== "") || (steps.length === 0 && "no image");
  return whole ? passOn(whole, input) : carryOut(steps, image);
}

async function carryOut(steps, first) {
  const lost = new Set(); // images that could not be opened
  let worst = 0;
  for (const step of steps) {
    const image = lost.has(step.image) ? null : step.image;
    const through = image !== null && step.through === "server" ? throughServer : throughQemu;
    const { status, open } = await through({ ...step, image });
    if (typeof status === "string") return status;
    if (status !== 0) worst = status;
    if (open) continue;
    if (image === first) return status;
    lost.add(image);
    if (step.commands.length > 0) qemuIo([], step.commands);
  }
  return worst;
}

const end = await main();
broker.end();
if (typeof end === "string") process.kill(process.pid, end);
else process.exitCode = end;
