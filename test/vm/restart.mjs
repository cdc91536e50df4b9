// restart.mjs FOLDER ROUNDS KILLS, in the guest: how long the server of each FOLDER/NAME.json takes to serve a device.
// Leaves FOLDER/NAME.times: { starts: […], recoveries: […] }, in milliseconds.
//
//   start      from the server's execution until it says that it is ready, the device being new: ROUNDS of them, all
//              contenders in turn
//   recovery   from SIGKILL of the serving process until a read that is waiting is answered: KILLS in each round
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const TIMEOUT_MS = 30_000;
const built = resolve(import.meta.dirname, "../../native/build/Release");
const native = createRequire(import.meta.url)(join(built, "ublk_stack.node"));
const [folder, rounds, kills] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];

const now = () => Number(process.hrtime.bigint()) / 1e6;

async function status(runDir) {
  const socket = connect(join(runDir, "control.sock"), () => socket.write('{"op":"status"}\n'));
  try {
    // The first line is all that comes.
    for await (const line of createInterface(socket)) return JSON.parse(line);
    throw new Error("the server closed the connection");
  } finally {
    socket.destroy();
  }
}

async function untilReady(runDir, notPid) {
  const end = now() + TIMEOUT_MS;
  for (;;) {
    const found = await status(runDir).catch(() => null);
    if (found?.phase === "ready" && found.pid !== notPid) return found;
    if (now() > end) throw new Error(`no server serves within ${TIMEOUT_MS} ms`);
    await pause(10);
  }
}

async function start(config) {
  const child = spawn(join(built, "ublk-stack-server"), ["--config", config, "--ready-fd", "3"], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  const begin = now();
  const ended = new Promise((done) => child.once("close", done));
  for await (const line of createInterface(child.stdio[3])) {
    const word = JSON.parse(line);
    if (word.ready === false) throw new Error(`the server did not start: ${line}`);
    if (word.ready === true) return { child, ended, elapsed: now() - begin };
  }
  throw new Error("the server said nothing");
}

async function recover(runDir, device, offset) {
  const { pid } = await untilReady(runDir);
  const buffer = Buffer.alloc(4096);
  const begin = now();
  process.kill(pid, "SIGKILL");
  // Never read before, so not in the page cache: the answer comes from a server.
  readSync(device, buffer, 0, buffer.length, offset);
  const elapsed = now() - begin;
  await untilReady(runDir, pid);
  return elapsed;
}

async function round(name, times) {
  const config = join(folder, `${name}.json`);
  const { runtime } = JSON.parse(readFileSync(config, "utf8"));
  mkdirSync(runtime.runDir, { recursive: true });
  const { child, ended, elapsed } = await start(config);
  times.starts.push(elapsed);
  const { id } = (await status(runtime.runDir)).device;
  const device = openSync(`/dev/ublkb${id}`, "r");
  for (let kill = 1; kill <= kills; kill++) {
    times.recoveries.push(await recover(runtime.runDir, device, kill * (64 << 20)));
  }
  closeSync(device);
  child.kill("SIGTERM");
  await ended;
  await native.stopDev(id, TIMEOUT_MS);
  await native.delDev(id, TIMEOUT_MS);
  rmSync(runtime.runDir, { recursive: true });
}

execFileSync("modprobe", ["null_blk", "nr_devices=4", "gb=2", "queue_mode=2", "irqmode=0"]);
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .map((file) => basename(file, ".json"));
const times = new Map(names.map((name) => [name, { starts: [], recoveries: [] }]));
for (let turn = 0; turn < rounds; turn++) {
  for (const [name, ofName] of times) await round(name, ofName);
}
for (const [name, ofName] of times) writeFileSync(join(folder, `${name}.times`), JSON.stringify(ofName));
