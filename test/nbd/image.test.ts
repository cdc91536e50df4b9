/** `image` on the layers of stacks: served by a real server, and after that. */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { cli, type Result, run, temporaryFolder, userEnv } from "../cli/harness.js";
import { MIB, qemuIoOk } from "./harness.js";

const STACK = `apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: demo }
spec:
  layers:
    disk: { qcow2: { base: { file: { path: images/disk.qcow2 } }, size: 64MiB } }
    d0: { file: { path: d0.img, size: 8MiB } }
    d1: { file: { path: d1.img, size: 8MiB } }
    wide: { stripe: { members: [d0, d1], chunk: 64KiB } }
    spread: { qcow2: { base: wide, size: 4MiB } }
  exports:
    disk: { layer: disk, frontend: nbd }
    spread: { layer: spread, frontend: nbd }
`;

let home: string;
let env: Record<string, string>;
const command = (...args: string[]): Promise<Result> => cli(args, { env, cwd: home });

async function ok(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(...args);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}
const json = async (...args: string[]) => JSON.parse(await ok("image", ...args, "-o", "json"));

async function refused(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command("image", ...args);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  return stderr.split("\n")[0] ?? "";
}

beforeEach(async () => {
  home = temporaryFolder();
  env = userEnv(home);
  writeFileSync(join(home, "demo.yaml"), STACK);
  expect((await run("mkdir", ["images"], { env, cwd: home })).status).toBe(0);
  expect(await command("apply", "demo.yaml")).toMatchObject({ status: 0 });
});
afterEach(async () => {
  await command("delete", "--all", "--force");
  await command("controller", "stop");
});

it("a layer that is served: its header is shown, and what changes meanwhile is not", async () => {
  const path = join(home, "images/disk.qcow2");
  const known = await json("info", "demo/disk");
  expect(known).toMatchObject({
    filename: path,
    "virtual-size": 64 * MIB,
    "cluster-size": 65536,
    "in-use": true,
  });
  // The same file by its path.
  expect(await json("info", "images/disk.qcow2")).toEqual({ ...known, filename: "images/disk.qcow2" });
  for (const verb of ["check", "map"]) {
    expect(await refused(verb, "demo/disk")).toBe(
      `error: ${path} (layer "disk" of stack "demo") is being written to by a server or another program, and its tables change meanwhile [path-in-use]`,
    );
  }
  const { items } = JSON.parse(await ok("status", "demo", "-o", "json"));
  await qemuIoOk(items[0].status.exports.disk.uri, "write -P 1 0 128k", "flush");
  const runs: { length: number; data: boolean }[] = await json("map", "-U", "demo/disk");
  const data = runs.filter((run) => run.data).reduce((sum, { length }) => sum + length, 0);
  expect(data).toBe(128 * 1024);

  await ok("delete", "demo");
  expect(await json("check", path)).toMatchObject({ "allocated-clusters": 2, findings: [] });
  expect(await json("info", path)).toMatchObject({ "in-use": false });
});

it("what is no image on a file is refused by name", async () => {
  expect(await refused("info", "demo/nope")).toMatch(
    /^error: stack "demo" has no layer "nope"; it has .*\bspread\b.* \[unknown-layer\]$/,
  );
  expect(await refused("info", "demo/wide")).toBe(
    'error: layer "wide" of stack "demo" is of type stripe, not qcow2 [not-an-image]',
  );
  expect(await refused("check", "demo/spread")).toBe(
    'error: the image of layer "spread" of stack "demo" lies on layer "wide" of type stripe, not on a file or a disk [not-an-image]',
  );
  expect(await refused("info", "other/disk")).toBe(
    'error: there is no file other/disk, and no stack "other" [stack-unknown]',
  );
});

it("layers are offered by the shell", async () => {
  expect(await ok("complete", "--", "image", "map", "demo/")).toBe(
    "demo/disk\tlayer\ndemo/spread\tlayer\n:any\n",
  );
});
