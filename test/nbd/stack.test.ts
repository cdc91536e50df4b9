/** Whatever dies, the stack comes back with every byte right, and a delete leaves the data files alone. */

import { spawnSync } from "node:child_process";
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { CLI, cli, type Result, ROOT, run, temporaryFolder } from "../cli/harness.js";
import { MIB, qemuIoOk } from "./harness.js";

const STACK = `apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: demo }
spec:
  layers:
    d0: { file: { path: d0.img, size: 8MiB } }
    d1: { file: { path: d1.img, size: 8MiB } }
    d2: { memory: { size: 16MiB } }
    wide: { stripe: { members: [d0, d1], chunk: 64KiB } }
    safe: { mirror: { members: [wide, d2] } }
  exports:
    data: { layer: safe, frontend: nbd }
`;

let home: string;
let env: Record<string, string>;

beforeEach(() => {
  home = temporaryFolder();
  env = {
    PATH: process.env.PATH ?? "",
    UBLK_STACK_STATE_DIR: join(home, "state"),
    UBLK_STACK_RUN_DIR: join(home, "run"),
  };
  writeFileSync(join(home, "demo.yaml"), STACK);
});

afterEach(async () => {
  await cli(["delete", "--all", "--force"], { env, cwd: home });
  await cli(["controller", "stop"], { env, cwd: home });
});

const command = (...args: string[]): Promise<Result> => cli(args, { env, cwd: home });

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

async function item(name = "demo"): Promise<StatusItem> {
  return JSON.parse(await ok("status", name, "-o", "json")).items[0];
}

async function uri(): Promise<string> {
  return (await item()).status.exports.data?.uri ?? "";
}

async function serverPids(): Promise<{ supervisor: number; server: number }> {
  const [device] = (await item()).status.devices;
  if (device?.supervisorPid == null || device.serverPid == null) throw new Error("the server does not run");
  return { supervisor: device.supervisorPid, server: device.serverPid };
}

const controllerPid = () => Number(readFileSync(join(home, "run/controller.pid"), "utf8"));
const starts = () =>
  readFileSync(join(home, "state/logs/demo.log"), "utf8").match(/"msg":"serving"/g)?.length ?? 0;

describe("a running stack", () => {
  it("is left alone by an apply of the same file", async () => {
    expect(await ok("apply", "demo.yaml")).toContain("stack/demo created");
    const before = await serverPids();
    const touched = () => ["d0.img", "d1.img"].map((name) => statSync(join(home, name)).mtimeMs);
    const times = touched();
    expect(await ok("apply", "demo.yaml")).toContain("stack/demo unchanged");
    expect(await serverPids()).toEqual(before);
    expect(touched()).toEqual(times);
  });

  it("survives the death of its server, of the supervisor, and of both", async () => {
    await ok("apply", "demo.yaml");
    const target = await uri();
    await qemuIoOk(target, "write -P 1 0 1M", "flush");
    const first = await serverPids();

    process.kill(first.server, "SIGKILL");
    await ok("wait", "demo");
    await qemuIoOk(target, "read -P 1 0 1M", "write -P 2 1M 1M", "flush");

    process.kill(first.supervisor, "SIGKILL");
    await waitFor(async () => (await item()).status.devices[0]?.supervisorPid !== first.supervisor);
    await ok("wait", "demo");
    await qemuIoOk(target, "read -P 1 0 1M", "read -P 2 1M 1M", "write -P 3 2M 1M", "flush");

    const second = await serverPids();
    process.kill(second.supervisor, "SIGKILL");
    process.kill(second.server, "SIGKILL");
    await waitFor(async () => (await item()).status.devices[0]?.serverPid !== second.server);
    await ok("wait", "demo");
    await qemuIoOk(target, "read -P 1 0 1M", "read -P 2 1M 1M", "read -P 3 2M 1M");
  });

  it("does not miss its controller, and the next one finds it", async () => {
    await ok("apply", "demo.yaml");
    const target = await uri();
    const before = await serverPids();
    process.kill(controllerPid(), "SIGKILL");
    await qemuIoOk(target, "write -P 5 0 1M", "flush");

    expect(await ok("apply", "demo.yaml")).toContain("stack/demo unchanged");
    expect(await serverPids()).toEqual(before);
    expect(starts()).toBe(1);
    await qemuIoOk(target, "read -P 5 0 1M");
  });

  it("recovers from a server and a controller that die together", async () => {
    await ok("apply", "demo.yaml");
    const { supervisor, server } = await serverPids();
    for (const pid of [controllerPid(), supervisor, server]) process.kill(pid, "SIGKILL");
    expect((await item()).status.phase).not.toBe("Failed");
    await ok("wait", "demo");
    await qemuIoOk(await uri(), "write -P 5 0 1M", "read -P 5 0 1M");
  });
});

describe("a controller", () => {
  it("gives way to one of another build, and the servers stay", async () => {
    await ok("apply", "demo.yaml");
    const [servers, old] = [await serverPids(), controllerPid()];

    const other = join(home, "other");
    mkdirSync(other);
    cpSync(dirname(CLI), join(other, "dist"), { recursive: true });
    writeFileSync(join(other, "dist/built"), "another build\n");
    for (const name of ["package.json", "node_modules", "native", "schema"]) {
      symlinkSync(join(ROOT, name), join(other, name));
    }
    const { status, stdout } = await run(
      process.execPath,
      [join(other, "dist/cli.js"), "apply", "demo.yaml"],
      {
        env,
        cwd: home,
      },
    );
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining("unchanged") });
    expect(controllerPid()).not.toBe(old);
    await waitFor(async () => !existsSync(`/proc/${old}`));
    expect(await serverPids()).toEqual(servers);
  });
});

describe("apply", () => {
  it("twice at once gives one stack and one controller", async () => {
    const both = await Promise.all([ok("apply", "demo.yaml"), ok("apply", "demo.yaml")]);
    expect(both.map((text) => /stack\/demo (\w+)/.exec(text)?.[1]).sort()).toEqual(["created", "unchanged"]);
    expect(starts()).toBe(1);
    const log = readFileSync(join(home, "state/logs/controller.log"), "utf8");
    expect(log.match(/"msg":"listening"/g)).toHaveLength(1);
  });

  it("leaves nothing of a stack that is refused", async () => {
    writeFileSync(join(home, "d1.img"), "");
    truncateSync(join(home, "d1.img"), 4096);
    const { status, stderr } = await command("apply", "demo.yaml");
    expect(status).toBe(2);
    expect(stderr).toMatch(/demo\.yaml:7:\d+: .*file-too-small|d1\.img/);
    expect(readdirSync(home).filter((name) => name.endsWith(".img"))).toEqual(["d1.img"]);
    expect(existsSync(join(home, "run/stacks/demo"))).toBe(false);
    expect(existsSync(join(home, "state/stacks/demo"))).toBe(false);
  });

  it("replaces the server under a mirror that gets another member", async () => {
    await ok("apply", "demo.yaml");
    const target = await uri();
    await qemuIoOk(target, "write -P 9 0 16M", "flush");
    const grown = STACK.replace("    wide:", "    d3: { file: { path: d3.img, size: 16MiB } }\n    wide:");
    writeFileSync(join(home, "demo.yaml"), grown.replace("[wide, d2]", "[wide, d2, d3]"));
    expect(await ok("apply", "demo.yaml")).toContain("stack/demo configured");
    await ok("wait", "--for=synced", "demo", "--timeout", "60s");
    await qemuIoOk(target, "read -P 9 0 16M");
    await ok("delete", "demo");
    expect(readFileSync(join(home, "d3.img")).equals(Buffer.alloc(16 * MIB, 9))).toBe(true);
  });
});

describe("delete", () => {
  it("leaves the data files, and no process", async () => {
    await ok("apply", "demo.yaml");
    await qemuIoOk(await uri(), "write -P 7 0 16M", "flush");
    const { supervisor, server } = await serverPids();
    await ok("delete", "demo");
    expect(
      readdirSync(home)
        .filter((name) => name.endsWith(".img"))
        .sort(),
    ).toEqual(["d0.img", "d1.img"]);
    for (const name of ["d0.img", "d1.img"]) {
      expect(readFileSync(join(home, name)).equals(Buffer.alloc(8 * MIB, 7))).toBe(true);
    }
    for (const pid of [supervisor, server]) expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect(existsSync(join(home, "run/stacks/demo"))).toBe(false);
    expect(existsSync(join(home, "state/stacks/demo/stack.json"))).toBe(false);
    const controller = controllerPid();
    await waitFor(async () => !existsSync(`/proc/${controller}`));
  });
});

/** Whom a test that runs as root becomes; the checkout must be readable for everybody then. */
const NOBODY = 65_534;
const asNobody = ["--reuid", String(NOBODY), "--regid", String(NOBODY), "--clear-groups"];
const canBeNobody =
  process.getuid?.() === 0 && spawnSync("setpriv", [...asNobody, "test", "-r", CLI]).status === 0;

describe.skipIf(!canBeNobody)("a plain user (tested by root, from a checkout that others can read)", () => {
  const user = (...args: string[]) =>
    run("setpriv", [...asNobody, process.execPath, CLI, ...args], { env: { ...env, HOME: home }, cwd: home });

  it("runs a stack", async () => {
    chownSync(home, NOBODY, NOBODY);
    expect(await user("apply", "demo.yaml")).toMatchObject({ status: 0, stderr: "" });
    const { items } = JSON.parse((await user("status", "demo", "-o", "json")).stdout);
    const target = items[0].status.exports.data.uri;
    expect((await run("setpriv", [...asNobody, "nbdinfo", "--size", target], { env })).stdout).toBe(
      `${16 * MIB}\n`,
    );
    expect(await user("delete", "demo")).toMatchObject({ status: 0 });
    expect(statSync(join(home, "d0.img")).uid).toBe(NOBODY);
  });

  it("is told every path that is not for them, at its place, and nothing is changed", async () => {
    chownSync(home, NOBODY, NOBODY);
    writeFileSync(join(home, "secret.img"), Buffer.alloc(MIB), { mode: 0o600 });
    mkdirSync(join(home, "locked"), { mode: 0o755 });
    mkdirSync(join(home, "closed"), { mode: 0o700 });
    const text = `apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: denied }
spec:
  layers:
    a: { file: { path: secret.img } }
    b: { file: { path: locked/new.img, size: 1MiB } }
    c: { file: { path: closed/new.img, size: 1MiB } }
    l: { linear: { members: [a, b, c] } }
  exports:
    data: { layer: l, owner: root, frontend: nbd }
`;
    writeFileSync(join(home, "denied.yaml"), text);
    const { status, stderr } = await user("apply", "denied.yaml");
    expect(status).toBe(2);
    const places = stderr.match(/^denied\.yaml:\d+:\d+: error: .*$/gm);
    expect(places).toEqual([
      'denied.yaml:6:24: error: not allowed to read and write "secret.img" [permission-denied]',
      `denied.yaml:7:24: error: not allowed to make files in "${home}/locked" [permission-denied]`,
      `denied.yaml:8:24: error: not allowed to reach "${home}/closed/new.img" [permission-denied]`,
      'denied.yaml:11:30: error: only root can give export "data" to "root" [permission-denied]',
    ]);
    expect(readdirSync(join(home, "state/stacks"))).toEqual([]);
  });
});

/** Asks again until it is so; the test's own timeout bounds it. */
async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
