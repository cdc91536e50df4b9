/**
 * A server program without a data plane: supervisor and worker, pid files, ready line and control socket as the native
 * one, so that everything around it can be tested without the native build.
 *
 * What it does wrong on purpose is written into a leaf's path: a layer file named *.fail-start.* makes the start fail,
 * *.fail-once.* the first one only; *.no-engine.* refuses the engine; *.mute.* says nothing and hangs.
 */
import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const argument = (name) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const configPath = argument("--config");
const readyFd = argument("--ready-fd");
const { table, runtime } = JSON.parse(readFileSync(configPath, "utf8"));
const inRunDir = (name) => join(runtime.runDir, name);
const log = (level, msg, more = {}) =>
  process.stderr.write(
    `${JSON.stringify({ time: Date.now(), level, stack: runtime.stack, device: table.name, msg, ...more })}\n`,
  );

if (process.argv.includes("--worker")) worker();
else supervisor();

function supervisor() {
  writeFileSync(inRunDir("supervisor.pid"), `${process.pid}\n`);
  let child;
  let stopping = false;
  const start = (fd) => {
    const args = [
      process.argv[1],
      "--worker",
      "--config",
      configPath,
      ...(fd === undefined ? [] : ["--ready-fd", "3"]),
    ];
    child = spawn(process.execPath, args, {
      stdio: ["ignore", "inherit", "inherit", ...(fd === undefined ? [] : [Number(fd)])],
    });
    child.once("exit", (code) => {
      if (stopping || code === 0 || code === 2 || code === 3) {
        for (const name of ["supervisor.pid", "server.pid", "control.sock"])
          rmSync(inRunDir(name), { force: true });
        process.exit(code ?? 0);
      }
      log(40, "the worker died and is replaced");
      start(undefined);
    });
  };
  process.on("SIGTERM", () => {
    stopping = true;
    child.kill("SIGTERM");
  });
  start(readyFd);
}

function worker() {
  writeFileSync(inRunDir("server.pid"), `${process.pid}\n`);
  const say = (line) => {
    if (readyFd !== undefined) writeSync(Number(readyFd), `${JSON.stringify(line)}\n`);
  };
  for (const [layer, path] of Object.entries(runtime.paths)) {
    say({ progress: `opening ${path}`, layer });
    if (path.includes(".mute.")) return setInterval(() => undefined, 60_000);
    if (path.includes(".no-engine.")) {
      say({
        ready: false,
        error: {
          code: "engine-refused",
          message: "engine uring-bpf cannot serve: a test says so",
          layer: "",
          path: "",
        },
      });
      process.exit(3);
    }
    const failsOnce = path.includes(".fail-once.") && !existsSync(inRunDir("failed-once"));
    if (failsOnce) writeFileSync(inRunDir("failed-once"), "");
    if (path.includes(".fail-start.") || failsOnce || !existsSync(path)) {
      say({ ready: false, error: { code: "io-error", message: `cannot open ${path}`, layer, path } });
      process.exit(3);
    }
    const { size } = statSync(path);
    const { sizeBytes: wanted, params } = table.layers.find((entry) => entry.name === layer);
    if (size < wanted && params.grows !== true) {
      say({
        ready: false,
        error: { code: "file-too-small", message: `${path} has ${size} bytes`, layer, path },
      });
      process.exit(3);
    }
  }
  writeFileSync(inRunDir("starts"), "x", { flag: "a" });
  const sockets = [listen(inRunDir("control.sock"), converse)];
  if (runtime.nbdSocket !== undefined) sockets.push(listen(runtime.nbdSocket, (socket) => socket.destroy()));
  Promise.all(sockets).then(() => {
    log(30, "ready");
    say({ ready: true, id: null, pid: process.pid });
  });
  process.on("SIGTERM", end);
}

function listen(path, onConnection) {
  rmSync(path, { force: true });
  return new Promise((resolve) => {
    createServer(onConnection).listen(path, resolve);
  });
}

function end() {
  log(30, "stopped in order");
  if (runtime.nbdSocket !== undefined) rmSync(runtime.nbdSocket, { force: true });
  process.exit(0);
}

function converse(socket) {
  let rest = "";
  socket.setEncoding("utf8").on("data", (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const line of lines) socket.write(`${JSON.stringify(answer(JSON.parse(line)))}\n`);
  });
  socket.on("error", () => socket.destroy());
}

/** Members dropped in a test: a file in the run folder names them. */
function dropped() {
  return existsSync(inRunDir("dropped")) ? readFileSync(inRunDir("dropped"), "utf8").split("\n") : [];
}

function answer({ op, member, layer, params }) {
  if (op === "stop") {
    setImmediate(end);
    return { ok: true };
  }
  if (op === "readd") {
    if (!dropped().includes(member)) return { error: `member "${member}" is not dropped` };
    rmSync(inRunDir("dropped"));
    return { ok: true };
  }
  if (op === "set") {
    if (params.seed === 666) return { error: "a test says so" };
    writeFileSync(inRunDir("set"), `${JSON.stringify({ layer, params })}\n`, { flag: "a" });
    return { ok: true };
  }
  if (op !== "status") return { error: `unknown op ${op}` };
  const zero = { reads: 0, writes: 0, flushes: 0, discards: 0, bytesRead: 0, bytesWritten: 0 };
  return {
    pid: process.pid,
    uptimeMs: Math.round(process.uptime() * 1000),
    device: { id: null },
    phase: "ready",
    exports: table.exports.map(({ name }) => ({ name, clients: existsSync(inRunDir("clients")) ? 1 : 0 })),
    queues: [
      {
        engine: "native",
        reason: "fake",
        copyMode: "nbd",
        requests: 0,
        bytes: 0,
        inFlight: 0,
        enters: 0,
        scheduling: "normal",
        kernel: null,
      },
    ],
    layers: table.layers.map(({ name, type }) => ({ name, type, errors: {}, ...zero })),
    mirrors: table.layers
      .filter(({ type }) => type === "mirror")
      .map(({ name, children }) => ({
        layer: name,
        dirty: false,
        members: children.map((child) => ({
          name: table.layers[child].name,
          state: dropped().includes(table.layers[child].name) ? "dropped" : "in-sync",
        })),
        sync: null,
      })),
    rssBytes: process.memoryUsage.rss(),
  };
}
