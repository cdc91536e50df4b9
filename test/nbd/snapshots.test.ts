/** `ublk-stack snapshot` on layers that serve, with QEMU's tools as judges of the image and of what it shows. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { cli, type Result, temporaryFolder } from "../cli/harness.js";
import { MIB, qemuIoOk } from "./harness.js";

let home: string;
let env: Record<string, string>;
const at = (name: string) => join(home, name);

beforeEach(() => {
  home = temporaryFolder();
  env = { PATH: process.env.PATH ?? "", UBLK_STACK_STATE_DIR: at("state"), UBLK_STACK_RUN_DIR: at("run") };
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

const snapshot = (verb: string, ...more: string[]) => ok("snapshot", "s/disk", verb, ...more);

async function refused(...args: string[]): Promise<string> {
  const { status, stderr } = await command("snapshot", "s/disk", ...args);
  expect(status).toBe(1);
  return stderr;
}

async function listed(): Promise<{ snapshots: { id: string; name: string }[]; "under-way": unknown }> {
  return JSON.parse(await snapshot("list", "-o", "json"));
}

async function status(): Promise<StatusItem["status"]> {
  return JSON.parse(await ok("status", "s", "-o", "json")).items[0].status;
}
const uri = async () => (await status()).exports.disk?.uri ?? "";

const qemuImg = (...args: string[]): string =>
  execFileSync("qemu-img", args, { cwd: home, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** What QEMU finds in the image while it is served. */
const seenByQemu = () => JSON.parse(qemuImg("info", "-U", "--output=json", "disk.qcow2")).snapshots ?? [];

/** All bytes of a disk, as QEMU reads them. */
function bytesOf(...source: string[]): Buffer {
  qemuImg("convert", "-O", "raw", ...source, "copy.raw");
  return readFileSync(at("copy.raw"));
}

function put(layers: Record<string, object>, layer = "disk"): void {
  const document = {
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name: "s" },
    spec: { layers, exports: { disk: { layer, frontend: "nbd" } } },
  };
  writeFileSync(at("s.yaml"), JSON.stringify(document));
}
const image = (options: object = {}, more: object = {}) => ({
  qcow2: { base: { file: { path: "disk.qcow2" } }, size: "16MiB", ...options },
  ...more,
});

async function serve(layers: Record<string, object>, layer?: string): Promise<string> {
  put(layers, layer);
  await ok("apply", "s.yaml");
  return uri();
}

/** A client that goes on writing until it is told to end. */
function startWriter(target: string): { end: () => Promise<void> } {
  const writer = spawn("qemu-io", ["-f", "raw", target], { stdio: ["pipe", "ignore", "inherit"] });
  let writing = true;
  let round = 0;
  const more = () => {
    if (!writing) return;
    const place = (round * 7) % 120;
    round += 1;
    writer.stdin.write(`write -P ${(round % 250) + 1} ${8192 + place * 64}k 64k\n`, () => setImmediate(more));
  };
  more();
  return {
    end: async () => {
      writing = false;
      writer.stdin.end("quit\n");
      await once(writer, "exit");
    },
  };
}

describe("a snapshot of a layer that is in use", () => {
  it("is QEMU's too, and what the disk comes back to", async () => {
    const target = await serve({ disk: image() });
    await qemuIoOk(target, "write -P 1 0 4M", "flush");
    const writer = startWriter(target);
    expect(await snapshot("create", "first")).toBe("s/disk snapshot first (id 1) created\n");
    await snapshot("create", "second one");
    await writer.end();

    const { snapshots } = await listed();
    expect(snapshots.map(({ id, name }) => ({ id, name }))).toEqual([
      { id: "1", name: "first" },
      { id: "2", name: "second one" },
    ]);
    expect(snapshots.map((one) => ({ ...one, "virtual-size": undefined, icount: undefined }))).toEqual(
      seenByQemu().map((one: object) => ({ ...one, "virtual-size": undefined, icount: undefined })),
    );
    expect(qemuImg("snapshot", "-l", "-U", "disk.qcow2")).toMatch(/^1 +first .*\n2 +second one /m);

    const before = bytesOf("-U", "-l", "snapshot.name=first", "disk.qcow2");
    await qemuIoOk(target, "write -P 9 0 16M", "discard 1M 1M", "flush");
    expect(await snapshot("apply", "first")).toBe("s/disk snapshot first applied\n");
    await qemuIoOk(target, "read -P 1 0 4M", "read -P 0 4M 4M");
    expect(bytesOf(target).equals(before)).toBe(true);

    await qemuIoOk(target, "write -P 3 2M 1M", "read -P 1 0 2M", "flush");
    await snapshot("delete", "first");
    await snapshot("delete", "2");
    expect((await listed()).snapshots).toEqual([]);
    expect(seenByQemu()).toEqual([]);
    await qemuIoOk(target, "read -P 1 0 2M", "read -P 3 2M 1M");
    await ok("delete", "s");
    expect(qemuImg("check", "disk.qcow2")).toContain("No errors were found");
  });

  it("is there when the server is killed right after", async () => {
    const target = await serve({ disk: image() });
    await qemuIoOk(target, "write -P 5 0 1M", "flush");
    await snapshot("create", "kept");
    process.kill((await status()).devices[0]?.serverPid ?? 0, "SIGKILL");
    await ok("wait", "s");
    expect((await listed()).snapshots).toMatchObject([{ id: "1", name: "kept" }]);
    await qemuIoOk(await uri(), "write -P 6 0 1M");
    await snapshot("apply", "kept");
    await qemuIoOk(await uri(), "read -P 5 0 1M");
    await ok("delete", "s");
    expect(qemuImg("check", "disk.qcow2")).toContain("No errors were found");
    expect(qemuImg("snapshot", "-l", "disk.qcow2")).toContain("kept");
  });

  it("made by qemu-img is one like others, and two of one tag are told apart by their ids", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "disk.qcow2", "16M");
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write -P 2 0 1M", at("disk.qcow2")]);
    qemuImg("snapshot", "-c", "twin", "disk.qcow2");
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write -P 4 0 1M", at("disk.qcow2")]);
    qemuImg("snapshot", "-c", "twin", "disk.qcow2");
    const target = await serve({ disk: image() });
    expect((await listed()).snapshots).toMatchObject(seenByQemu());
    for (const verb of ["apply", "delete"])
      expect(await refused(verb, "twin")).toContain("[snapshot-ambiguous]");
    await snapshot("apply", "1");
    await qemuIoOk(target, "read -P 2 0 1M");
    await snapshot("delete", "1");
    await snapshot("apply", "twin");
    await qemuIoOk(target, "read -P 4 0 1M");
  });
});

describe("refused", () => {
  it("are names that are not there, are there already, or cannot be", async () => {
    await serve({ disk: image() });
    await snapshot("create", "x");
    expect(await refused("create", "x")).toContain('layer "disk": there is a snapshot "x" already');
    expect(await refused("apply", "y")).toContain("[snapshot-unknown]");
    expect(await refused("delete", "y")).toContain("[snapshot-unknown]");
    expect(await refused("create", "t".repeat(256))).toContain("[snapshot-refused]");
    expect((await listed()).snapshots).toMatchObject([{ name: "x" }]);

    const wrong = async (layer: string) => (await command("snapshot", layer, "list")).stderr;
    expect(await wrong("s/disks")).toContain("[unknown-layer]");
    expect(await wrong("s/disk.base")).toMatch(/\[(not-an-image|unknown-layer)\]/);
    expect(await wrong("t/disk")).toContain("[stack-unknown]");
  });

  it("is to go back under clients, unless it is forced", async () => {
    const target = await serve({ disk: image() });
    await qemuIoOk(target, "write -P 1 0 1M", "flush");
    await snapshot("create", "x");
    await qemuIoOk(target, "write -P 2 0 1M", "flush");
    const client = spawn("qemu-io", ["-f", "raw", target], { stdio: ["pipe", "pipe", "inherit"] });
    client.stdin.write("read -P 2 0 1M\n");
    await once(client.stdout, "data");
    const words = await refused("apply", "x");
    expect(words).toContain('users: export "disk" has 1 client [device-in-use]');
    expect(words).toContain("hint: --force");
    await snapshot("apply", "x", "--force");
    client.stdin.end("quit\n");
    await once(client, "exit");
    await qemuIoOk(target, "read -P 1 0 1M");
  });

  it("are changes of a read-only layer, which lists what there is", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "disk.qcow2", "16M");
    qemuImg("snapshot", "-c", "old", "disk.qcow2");
    await serve({ disk: image({}, { readOnly: true }) });
    for (const [verb, name] of [
      ["create", "x"],
      ["apply", "old"],
      ["delete", "old"],
    ] as const) {
      expect(await refused(verb, name)).toContain('layer "disk": the layer is read-only');
    }
    expect((await listed()).snapshots).toMatchObject([{ id: "1", name: "old" }]);
  });

  it("is to go back to a disk of another size", async () => {
    await serve({ disk: image() });
    await snapshot("create", "small");
    put({ disk: image({ size: "32MiB" }) });
    expect(await command("apply", "s.yaml")).toMatchObject({ status: 0 });
    expect(await refused("apply", "small")).toContain(
      `is of a disk of ${16 * MIB} bytes, and the layer has ${32 * MIB}`,
    );
    await snapshot("delete", "small");
  });

  it("is to go back under a layer that relies on the bytes", async () => {
    const layers = {
      disk: image(),
      over: { qcow2: { base: { file: { path: "over.qcow2" } }, size: "16MiB", backing: "disk" } },
    };
    await serve({ disk: image() });
    await snapshot("create", "x");
    await ok("delete", "s");
    await serve({ ...layers, disk: image() }, "over");
    const words = await refused("apply", "x", "--force");
    expect(words).toMatch(/"over" of type qcow2 stands on "disk"/);
  });
});

describe("a change that takes long", () => {
  const layers = {
    file: { file: { path: "disk.qcow2", size: "64MiB" } },
    slow: { delay: { base: "file" } },
    disk: { qcow2: { base: "slow", size: "16MiB" } },
  };

  it("is not called failed, and ends well", async () => {
    const target = await serve(layers);
    await qemuIoOk(target, "write -P 1 0 1M", "flush");
    await ok("set", "s", "slow", "write=2s");
    const words = await refused("create", "x", "--timeout", "1s");
    expect(words).toContain('create of snapshot "x" has begun, and may have been done');
    expect(words).toContain("hint: ublk-stack snapshot s/disk list");
    expect(await refused("create", "y", "--timeout", "1s")).toContain("[controller-busy]");
    while ((await listed())["under-way"] !== null) await delay(100);
    expect((await listed()).snapshots).toMatchObject([{ name: "x" }]);
  });

  it("has not begun while requests hang below, and is taken back", async () => {
    const target = await serve(layers);
    await qemuIoOk(target, "write -P 1 0 1M", "flush");
    await ok("set", "s", "slow", "write=25s");
    const inFlight = async () => (await status()).queues.reduce((sum, queue) => sum + queue.inFlight, 0);
    const client = spawn("qemu-io", ["-f", "raw", "-c", "write -P 2 0 1M", target], { stdio: "ignore" });
    while ((await inFlight()) === 0) await delay(100);
    const words = await refused("create", "x");
    expect(words).toContain("requests to the layer are under way below and do not end; nothing has changed");
    await ok("set", "s", "slow", "write=");
    if (client.exitCode === null) await once(client, "exit");
    expect((await listed()).snapshots).toEqual([]);
    await snapshot("create", "x");
    await qemuIoOk(target, "read -P 2 0 1M");
  });
});
