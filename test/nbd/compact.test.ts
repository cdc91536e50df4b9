/** `ublk-stack image compact` on layers that serve: by their server, under clients, with QEMU's tools as judges. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
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

const qemuImg = (...args: string[]): string =>
  execFileSync("qemu-img", args, { cwd: home, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

function bytesOf(...source: string[]): Buffer {
  qemuImg("convert", "-O", "raw", ...source, "copy.raw");
  return readFileSync(at("copy.raw"));
}

async function serve(options: object = {}): Promise<string> {
  const layers = { disk: { qcow2: { base: { file: { path: "disk.qcow2" } }, size: "64MiB" }, ...options } };
  const spec = { layers, exports: { disk: { layer: "disk", frontend: "nbd" } } };
  writeFileSync(
    at("s.yaml"),
    JSON.stringify({ apiVersion: "ublk-stack/v1", kind: "Stack", metadata: { name: "s" }, spec }),
  );
  await ok("apply", "s.yaml");
  const { items } = JSON.parse(await ok("status", "s", "-o", "json"));
  return items[0].status.exports.disk.uri;
}

const compact = async (...more: string[]) =>
  JSON.parse(await ok("image", "compact", "s/disk", "-o", "json", ...more));

describe("an image that is served", () => {
  it("becomes smaller while clients go on, and shorter once it is not served", async () => {
    const target = await serve();
    await qemuIoOk(target, "write -P 1 0 20M", "write -P 0 20M 10M", "write -P 2 40M 10M", "flush");
    await ok("snapshot", "s/disk", "create", "one");
    await qemuIoOk(target, "write -P 3 52M 4M", "discard 0 8M", "flush");
    await ok("snapshot", "s/disk", "delete", "one");
    const before = bytesOf("-f", "raw", target);
    const was = statSync(at("disk.qcow2"));

    const writer = spawn("qemu-io", ["-f", "raw", target], { stdio: ["pipe", "ignore", "inherit"] });
    for (let i = 0; i < 64; i++) writer.stdin.write(`write -P ${i + 10} ${60 * 1024 + i * 64}k 64k\n`);
    const done = await compact();
    writer.stdin.end("quit\n");
    await once(writer, "exit");
    expect(done["zero-bytes"]).toBe(10 * MIB);
    expect(done["moved-bytes"]).toBeGreaterThan(0);
    expect(statSync(at("disk.qcow2")).blocks).toBeLessThan(was.blocks);

    const expected = Buffer.from(before);
    for (let i = 0; i < 64; i++) expected.fill(i + 10, 60 * MIB + i * 65536, 60 * MIB + (i + 1) * 65536);
    expect(bytesOf("-f", "raw", target).equals(expected)).toBe(true);
    await ok("delete", "s");
    expect(qemuImg("check", "disk.qcow2")).toContain("No errors");
    await ok("image", "compact", "disk.qcow2");
    expect(statSync(at("disk.qcow2")).size).toBeLessThan(was.size);
    expect(bytesOf("disk.qcow2").equals(expected)).toBe(true);
    expect(qemuImg("check", "disk.qcow2")).toContain("No errors");
  });

  it("is compacted by its server alone", async () => {
    await serve();
    const { status, stderr } = await command("image", "compact", "./disk.qcow2");
    expect(status).toBe(1);
    expect(stderr).toContain("is in use by a server or another program [path-in-use]");
    expect(await compact()).toMatchObject({ "moved-bytes": 0, "zero-bytes": 0 });
  });

  it("is refused where the layer is only read, or has no image", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "disk.qcow2", "64M");
    await serve({ readOnly: true });
    const { status, stderr } = await command("image", "compact", "s/disk");
    expect(status).toBe(1);
    expect(stderr).toContain('layer "disk": the layer is read-only [image-refused]');
    expect((await command("image", "compact", "s/disk.0")).stderr).toContain("[not-an-image]");
  });
});
