/** `ublk-stack set` on a stack that serves: a stranger's client sees the faults, and nothing restarts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { cli, type Result, temporaryFolder } from "../cli/harness.js";
import { qemuIoOk, qemuIoSays } from "./harness.js";

const STACK = `apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: demo }
spec:
  layers:
    disk: { file: { path: disk.img, size: 8MiB } }
    sick: { error: { base: disk, ops: [read], start: 1MiB, length: 64KiB, probability: 0 } }
  exports:
    data: { layer: sick, frontend: nbd }
`;

let home: string;
let env: Record<string, string>;
const ublkStack = (...words: string[]): Promise<Result> => cli(words, { env, cwd: home });
const failure = (uri: string) => qemuIoSays(uri, "read 1M 4k");
const status = async () =>
  (JSON.parse((await ublkStack("status", "demo", "-o", "json")).stdout) as { items: [StatusItem] }).items[0]
    .status;

beforeEach(async () => {
  home = temporaryFolder();
  env = {
    PATH: process.env.PATH ?? "",
    UBLK_STACK_STATE_DIR: join(home, "state"),
    UBLK_STACK_RUN_DIR: join(home, "run"),
  };
  writeFileSync(join(home, "demo.yaml"), STACK);
  expect((await ublkStack("apply", "demo.yaml")).stderr).toBe("");
});
afterEach(async () => {
  await ublkStack("delete", "--all", "--force");
});

describe("set", () => {
  it("makes a place of the disk fail and well again, under the same server", async () => {
    const before = await status();
    const uri = before.exports.data?.uri ?? "";
    await qemuIoOk(uri, "write -P 7 1M 64k", "read -P 7 1M 64k");

    expect(await ublkStack("set", "demo", "sick", "probability=1")).toMatchObject({
      status: 0,
      stdout: "stack/demo sick set\n",
    });
    expect(await failure(uri)).toContain("Input/output error");
    await qemuIoOk(uri, "read 0 1M", "write -P 8 1M 64k", "read 1088k 64k");

    const sick = await status();
    expect(sick.devices[0]?.serverPid).toBe(before.devices[0]?.serverPid);
    expect(sick.instruments).toMatchObject([
      { layer: "sick", settings: { probability: 1 }, counts: { failed: 1 } },
    ]);

    expect((await ublkStack("diff", "demo.yaml")).stdout).toContain("layers.sick.params.probability: 1 → 0");
    expect((await ublkStack("apply", "demo.yaml")).stdout).toContain("stack/demo configured");
    await qemuIoOk(uri, "read -P 8 1M 64k");
    expect((await status()).devices[0]?.serverPid).toBe(before.devices[0]?.serverPid);
  });

  it("keeps its settings through the death of a worker", async () => {
    await ublkStack("set", "demo", "sick", "probability=1", "errno=ENOSPC");
    const { exports, devices } = await status();
    process.kill(devices[0]?.serverPid ?? 0, "SIGKILL");
    await ublkStack("wait", "--for=ready", "demo");
    expect(await failure(exports.data?.uri ?? "")).toContain("No space left on device");
  });

  it("refuses what is no setting, and changes nothing", async () => {
    for (const [word, code, words] of [
      ["probability=1.5", 2, "probability"],
      ["colour=red", 2, 'unknown key "colour"'],
      ["base=disk2", 2, "disk2"],
      ["probability", 2, "not KEY=VALUE"],
      ["ops=[read", 2, "not YAML"],
    ] as const) {
      const result = await ublkStack("set", "demo", "sick", word);
      expect(result.status, word).toBe(code);
      expect(result.stderr).toContain(words);
    }
    const restart = await ublkStack("set", "demo", "disk", "direct=off");
    expect(restart).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("cannot take this while it runs"),
    });
    expect((await ublkStack("set", "demo", "nobody", "a=1")).stderr).toContain('has no layer "nobody"');
    expect((await ublkStack("diff", "demo.yaml")).status).toBe(0);
  });
});
