/** The command, the controller and the server together, judged by clients that nobody here wrote. */

import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { cli, onTerminal, type Result, run, temporaryFolder, userEnv } from "../cli/harness.js";
import { DEMO_YAML } from "../cli/items.js";

const KIB = 1024;
const SMALL = DEMO_YAML.replaceAll("256MiB", "4MiB")
  .replace("512MiB", "8MiB")
  .replace("{ layer: safe }", "{ layer: safe, frontend: nbd }");

let home: string;
let env: Record<string, string>;
const command = (...args: string[]): Promise<Result> => cli(args, { env, cwd: home });

/** The command must succeed; its output. */
async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

async function item(name: string): Promise<StatusItem> {
  const [found] = JSON.parse(await ok("status", name, "-o", "json")).items;
  return found;
}

async function uri(name: string): Promise<string> {
  return (await item(name)).status.exports.data?.uri ?? "";
}

async function copy(from: string, to: string): Promise<void> {
  expect(await run("nbdcopy", ["--flush", from, to], { env, cwd: home })).toMatchObject({
    status: 0,
    stderr: "",
  });
}

/** 8 MiB in which every 512 bytes differ. */
function pattern(): Buffer {
  const data = Buffer.alloc(8 * KIB * KIB);
  for (let at = 0; at < data.length; at += 512) data.fill(`block ${at / 512} `, at, at + 512);
  return data;
}

/** What a stripe of two members with this chunk holds on one of them, as device mapper lays it out. */
function onMember(data: Buffer, member: number, chunk: number): Buffer {
  const pieces: Buffer[] = [];
  for (let at = member * chunk; at < data.length; at += 2 * chunk) pieces.push(data.subarray(at, at + chunk));
  return Buffer.concat(pieces);
}

beforeEach(() => {
  home = temporaryFolder();
  env = userEnv(home);
  writeFileSync(join(home, "demo.yaml"), SMALL);
});
afterEach(async () => {
  await command("delete", "--all", "--force");
  await command("controller", "stop");
});

describe("from a file to a running stack", () => {
  it("creates, serves, leaves alone, and takes down all but the data", async () => {
    expect(await ok("apply", "demo.yaml")).toMatch(
      /^stack\/demo created\n {2}data {2}nbd\+unix:\/\/\/data\?socket=/,
    );
    const address = await uri("demo");
    writeFileSync(join(home, "written"), pattern());
    await copy("written", address);
    await copy(address, "read");
    expect(readFileSync(join(home, "read")).equals(pattern())).toBe(true);

    const [server] = (await item("demo")).status.devices;
    expect((await ok("apply", "demo.yaml")).split("\n")[0]).toBe("stack/demo unchanged");
    expect((await item("demo")).status.devices[0]?.serverPid).toBe(server?.serverPid);
    expect(await ok("diff", "demo.yaml")).toContain("No changes.");
    expect(await ok("wait", "demo")).toBe("stack/demo ready\n");
    expect(await ok("wait", "--for=synced", "demo")).toBe("stack/demo synced\n");
    expect(await ok("explain", "demo")).toContain("engine native");
    expect(await ok("graph", "demo")).toContain("wide: stripe");
    expect(await ok("logs", "demo")).toContain("serving");

    expect(await ok("delete", "demo")).toBe("stack/demo deleted\n");
    expect(readFileSync(join(home, "d0.img")).equals(onMember(pattern(), 0, 64 * KIB))).toBe(true);
    expect(readFileSync(join(home, "d1.img")).equals(onMember(pattern(), 1, 64 * KIB))).toBe(true);
    expect(existsSync(join(home, "run", "stacks", "demo"))).toBe(false);
    expect(existsSync(join(home, "state", "stacks", "demo", "stack.json"))).toBe(false);
  });

  it("finds the data again after delete and apply", async () => {
    await ok("apply", "demo.yaml");
    writeFileSync(join(home, "written"), pattern());
    await copy("written", await uri("demo"));
    await ok("delete", "demo");
    await ok("apply", "demo.yaml");
    await ok("wait", "--for=synced", "demo");
    await copy(await uri("demo"), "read");
    expect(readFileSync(join(home, "read")).equals(pattern())).toBe(true);
  });

  it("refuses to lose data until it is told to", async () => {
    await ok("apply", "demo.yaml");
    writeFileSync(join(home, "demo.yaml"), SMALL.replace("64KiB", "128KiB"));
    // The memory member holds a copy: without it, another chunk loses everything.
    const alone = SMALL.replace("64KiB", "128KiB")
      .replace("{ layer: safe,", "{ layer: wide,")
      .replace(/ {4}(d2|safe):.*\n/g, "");
    writeFileSync(join(home, "alone.yaml"), alone);
    const difference = await command("diff", "alone.yaml");
    expect(difference.status).toBe(1);
    expect(difference.stdout).toContain("--allow-data-loss lets it happen");
    const refused = await command("apply", "alone.yaml");
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("Blocked:");
    expect(refused.stderr).toContain("[data-loss]");
    const told = await command("apply", "alone.yaml", "--allow-data-loss");
    expect(told).toMatchObject({ status: 0 });
    expect(told.stdout).toContain("stack/demo configured");
  });

  it("leaves nothing behind for a stack that the host refuses", async () => {
    writeFileSync(
      join(home, "bad.yaml"),
      SMALL.replace("d1.img", "nowhere/d1.img").replace("name: demo", "name: bad"),
    );
    const { status, stdout, stderr } = await command("apply", "bad.yaml");
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^bad\.yaml:8:\d+: error: /);
    expect(stderr).toContain("nothing was changed");
    expect(readdirSync(home).filter((name) => name.endsWith(".img"))).toEqual([]);
    expect((await command("status", "bad")).status).toBe(1);
  });

  it("names the layer whose file is too small, at its place", async () => {
    writeFileSync(join(home, "d0.img"), "");
    truncateSync(join(home, "d0.img"), KIB * KIB);
    const { status, stderr } = await command("apply", "demo.yaml");
    expect(status).toBe(2);
    expect(stderr).toMatch(/demo\.yaml:7:\d+: error: .*\[file-too-small\]/);
  });

  it("serves several documents, and deletes them by file", async () => {
    const other = SMALL.replaceAll("demo", "other").replaceAll(".img", "-o.img");
    writeFileSync(join(home, "both.yaml"), `${SMALL}---\n${other}`);
    expect((await ok("apply", "both.yaml")).match(/^stack\/.*/gm)).toEqual([
      "stack/demo created",
      "stack/other created",
    ]);
    expect(await ok("status", "-o", "name")).toBe("stack/demo\nstack/other\n");
    expect(await ok("wait", "--all")).toContain("stack/other ready");
    expect(await ok("delete", "-f", "both.yaml")).toBe("stack/other deleted\nstack/demo deleted\n");
  });

  it("refuses a path that another stack uses", async () => {
    await ok("apply", "demo.yaml");
    writeFileSync(join(home, "thief.yaml"), SMALL.replace("name: demo", "name: thief"));
    const { status, stderr } = await command("apply", "thief.yaml");
    expect(status).toBe(2);
    expect(stderr).toContain("[path-in-use]");
  });

  it("shows what it does on a terminal while it starts", async () => {
    const { status, stdout } = await onTerminal(["apply", "demo.yaml"], { env, cwd: home });
    expect(status).toBe(0);
    expect(stdout).toContain("NBD server: starting");
    expect(stdout).toMatch(/stack\/demo .*created/);
  });

  it("goes on with new servers of a killed controller's stack", async () => {
    await ok("apply", "demo.yaml");
    const version = JSON.parse(await ok("version", "-o", "json"));
    process.kill(version.controller.pid, "SIGKILL");
    const before = (await item("demo")).status.devices[0]?.serverPid;
    expect((await ok("apply", "demo.yaml")).split("\n")[0]).toBe("stack/demo unchanged");
    expect((await item("demo")).status.devices[0]?.serverPid).toBe(before);
  });
});
