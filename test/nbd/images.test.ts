/** Stacks with images under the command: what is made, kept and refused, with QEMU's tools as judges of every image. */

import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { cli, type Result, ROOT, temporaryFolder } from "../cli/harness.js";
import { MIB, qemuIoOk, startServer } from "./harness.js";

let home: string;
let env: Record<string, string>;
const at = (name: string) => join(home, name);

beforeEach(() => {
  home = temporaryFolder();
  env = {
    PATH: process.env.PATH ?? "",
    UBLK_STACK_STATE_DIR: at("state"),
    UBLK_STACK_RUN_DIR: at("run"),
  };
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

async function item(name: string): Promise<StatusItem> {
  return JSON.parse(await ok("status", name, "-o", "json")).items[0];
}

const uri = async (stack: string, name: string) => (await item(stack)).status.exports[name]?.uri ?? "";
const serverPid = async (stack: string) => (await item(stack)).status.devices[0]?.serverPid ?? 0;

const qemuImg = (...args: string[]): string =>
  execFileSync("qemu-img", args, { cwd: home, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const info = (image: string) => JSON.parse(qemuImg("info", "--output=json", image));
/** Neither corruptions nor leaks. */
const check = (image: string) => expect(qemuImg("check", image)).toContain("No errors were found");

/** A stack "s" with the layer "disk" of these options, over disk.qcow2. */
function put(options: Record<string, unknown>, base: Record<string, unknown> = {}): void {
  const disk = { qcow2: { base: { file: { path: "disk.qcow2", ...base } }, ...options } };
  const document = {
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name: "s" },
    spec: { layers: { disk }, exports: { disk: { layer: "disk", frontend: "nbd" } } },
  };
  writeFileSync(at("s.yaml"), JSON.stringify(document, null, 2));
}

describe("golden-image.yaml", () => {
  const YAML = readFileSync(join(ROOT, "stacks/golden-image.yaml"), "utf8").replaceAll(
    /\{ layer: (one|two) \}/g,
    "{ layer: $1, frontend: nbd }",
  );

  /** Ones in the first MiB, and in the last. */
  function makeGolden(): void {
    const ones = Buffer.alloc(MIB, 1);
    const file = openSync(at("golden-image.raw"), "w");
    for (const place of [0, 1023 * MIB]) writeSync(file, ones, 0, MIB, place);
    closeSync(file);
  }

  it("gives each tenant the golden bytes and its own, and the golden image to nobody", async () => {
    writeFileSync(at("stack.yaml"), YAML);
    makeGolden();
    const golden = statSync(at("golden-image.raw")).mtimeMs;
    expect(await ok("apply", "stack.yaml")).toContain("stack/golden-image created");
    const [one, two] = [await uri("golden-image", "one"), await uri("golden-image", "two")];
    await qemuIoOk(one, "read -P 1 0 1M", "write -P 7 512k 1M", "flush");
    await qemuIoOk(
      two,
      "read -P 1 0 1M",
      "read -P 0 1G 1M",
      "write -P 8 1023M 2M",
      "discard 0 512k",
      "flush",
    );
    await qemuIoOk(one, "read -P 1 0 512k", "read -P 7 512k 1M", "read -P 1 1023M 1M");
    await qemuIoOk(two, "read -P 0 0 512k", "read -P 1 512k 512k", "read -P 8 1023M 2M");

    expect(await ok("apply", "stack.yaml")).toContain("stack/golden-image unchanged");
    await ok("delete", "golden-image");
    expect(statSync(at("golden-image.raw")).mtimeMs).toBe(golden);
    for (const image of ["golden-image-one.qcow2", "golden-image-two.qcow2"]) check(image);
    expect(info("golden-image-two.qcow2")).toMatchObject({
      "virtual-size": 4096 * MIB,
      "backing-filename": at("golden-image.raw"),
      "backing-filename-format": "raw",
      "format-specific": { data: { "extended-l2": true } },
    });
    expect(statSync(at("golden-image-one.qcow2")).size).toBeLessThan(8 * MIB);

    await ok("apply", "stack.yaml");
    await qemuIoOk(await uri("golden-image", "one"), "read -P 1 0 512k", "read -P 7 512k 1M");
  });
});

describe("an image", () => {
  it("is made, and from then on has what is stated of it", async () => {
    put({ size: "64MiB", clusterSize: "128KiB", compression: "zstd", refcountBits: 32 });
    await ok("apply", "s.yaml");
    await qemuIoOk(await uri("s", "disk"), "write -P 5 0 1M", "flush");
    const pid = await serverPid("s");

    put({ size: "64MiB", clusterSize: "64KiB" });
    const refused = await command("apply", "s.yaml");
    expect(refused.status).toBe(2);
    expect(refused.stderr).toMatch(
      /^s\.yaml:\d+:\d+: error: the image "disk\.qcow2" has clusters: 128KiB, and "disk" says 64KiB \[image-differs\]/m,
    );
    expect(await serverPid("s")).toBe(pid);

    put({});
    await ok("apply", "s.yaml");
    await qemuIoOk(await uri("s", "disk"), "read -P 5 0 1M", "read -P 0 1M 1M");
    await ok("delete", "s");
    check("disk.qcow2");
    expect(info("disk.qcow2")).toMatchObject({
      "virtual-size": 64 * MIB,
      "cluster-size": 131072,
      "format-specific": { data: { "compression-type": "zstd", "refcount-bits": 32 } },
    });
  });

  it("of qemu-img's is served as it is", async () => {
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "disk.qcow2", "24M");
    execFileSync("qemu-io", ["-f", "qcow2", "-c", "write -P 9 3M 2M", at("disk.qcow2")]);
    put({ create: "never" });
    await ok("apply", "s.yaml");
    await qemuIoOk(await uri("s", "disk"), "read -P 9 3M 2M", "write -P 4 4M 1M");
    await ok("delete", "s");
    check("disk.qcow2");
    execFileSync("qemu-io", ["-r", "-f", "qcow2", "-c", "read -P 4 4M 1M", at("disk.qcow2")]);
  });

  it("is made over something else only once, and only if that is said twice", async () => {
    writeFileSync(at("disk.qcow2"), "a letter to somebody");
    put({ size: "16MiB" });
    const refused = await command("apply", "s.yaml");
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("[image-foreign]") });
    expect(readFileSync(at("disk.qcow2"), "utf8")).toBe("a letter to somebody");

    put({ size: "16MiB", create: "always", overwrite: true });
    await ok("apply", "s.yaml");
    await qemuIoOk(await uri("s", "disk"), "write -P 3 0 1M", "flush");
    process.kill(await serverPid("s"), "SIGKILL");
    await ok("wait", "s");
    await qemuIoOk(await uri("s", "disk"), "read -P 3 0 1M");
    put({ size: "16MiB", create: "always", overwrite: true, cache: "8MiB" });
    await ok("apply", "s.yaml");
    await qemuIoOk(await uri("s", "disk"), "read -P 3 0 1M");
  });

  it("is not made by halves: what an apply that failed has made is taken back", async () => {
    put({ size: "16MiB", backing: { file: { path: "golden.raw", size: "1MiB", create: "never" } } });
    expect((await command("apply", "s.yaml")).status).toBe(2);
    expect(() => statSync(at("disk.qcow2"))).toThrow("ENOENT");
  });

  it("does not outgrow what its file may come to", async () => {
    put({ size: "64MiB" }, { sizeMax: "4MiB" });
    await ok("apply", "s.yaml");
    const target = await uri("s", "disk");
    await qemuIoOk(target, "write -P 1 0 2M", "flush");
    await expect(qemuIoOk(target, "write -P 2 8M 8M")).rejects.toThrow();
    await qemuIoOk(target, "read -P 1 0 2M");
    await ok("delete", "s");
    check("disk.qcow2");
    expect(statSync(at("disk.qcow2")).size).toBeLessThanOrEqual(4 * MIB);
  });

  it("in a file of a fixed size leaves the file as long as it is", async () => {
    writeFileSync(at("disk.qcow2"), "");
    truncateSync(at("disk.qcow2"), 8 * MIB);
    put({ size: "64MiB" }, { size: "8MiB" });
    await ok("apply", "s.yaml");
    await qemuIoOk(await uri("s", "disk"), "write -P 1 60M 1M", "read -P 1 60M 1M");
    await ok("delete", "s");
    expect(statSync(at("disk.qcow2")).size).toBe(8 * MIB);
    check("disk.qcow2");
  });
});

describe("a backing that is a device of another server", () => {
  const layers = {
    base: { file: { path: "disk.qcow2" } },
    member: { file: { path: "member.raw", size: "1MiB" } },
    golden: { linear: { members: ["member"] } },
    disk: { qcow2: { base: "base", size: "1MiB", backing: "golden" } },
  };
  const serve = (names: object) =>
    startServer(
      { layers, exports: { data: { layer: "disk", frontend: "nbd" } } },
      { folder: home, adjust: (config) => Object.assign(config.runtime, { imageNames: names }) },
    );

  it("has the name that the controller gives it, and no other", async () => {
    const golden = { name: "/srv/golden.qcow2", format: "qcow2" };
    await (await serve({ golden })).stop();
    expect(info("disk.qcow2")).toMatchObject({
      "backing-filename": "/srv/golden.qcow2",
      "backing-filename-format": "qcow2",
    });
    await (await serve({ golden })).stop();
    await expect(serve({})).rejects.toThrow("image-differs");
  });
});
