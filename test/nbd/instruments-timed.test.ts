/** delay, throttle, badblocks and readonly as a stranger's client sees them, set while they run; and dead traces. */
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
    wearing: { readonly: { base: disk, enabled: false } }
    worn: { badblocks: { base: wearing, blockSize: 4KiB } }
    limited: { throttle: { base: worn } }
    slow: { delay: { base: limited, trace: trace.txt, flush: trace } }
  exports:
    data: { layer: slow, frontend: nbd }
`;

let home: string;
let env: Record<string, string>;
let uri: string;
const ublkStack = (...words: string[]): Promise<Result> => cli(words, { env, cwd: home });
const status = async () =>
  (JSON.parse((await ublkStack("status", "demo", "-o", "json")).stdout) as { items: [StatusItem] }).items[0]
    .status;
const of = async (layer: string) => {
  const found = (await status()).instruments.find((one) => one.layer === layer);
  return { counts: found?.counts ?? {}, settings: found?.settings ?? {} };
};
const set = async (...words: string[]) =>
  expect(await ublkStack("set", "demo", ...words)).toMatchObject({ status: 0, stderr: "" });

beforeEach(async () => {
  home = temporaryFolder();
  env = {
    PATH: process.env.PATH ?? "",
    UBLK_STACK_STATE_DIR: join(home, "state"),
    UBLK_STACK_RUN_DIR: join(home, "run"),
  };
  writeFileSync(join(home, "demo.yaml"), STACK);
  writeFileSync(join(home, "trace.txt"), "1us\n2us\n");
  expect((await ublkStack("apply", "demo.yaml")).stderr).toBe("");
  uri = (await status()).exports.data?.uri ?? "";
});
afterEach(async () => {
  await ublkStack("delete", "--all", "--force");
  await ublkStack("controller", "stop");
});

describe("instruments that are set while they run", () => {
  it("bad blocks are read again once they were written", async () => {
    await qemuIoOk(uri, "write -P 7 0 64k");
    await set("worn", "blocks=[1, 4-5]");
    for (const place of ["4k", "16k", "20k"])
      expect(await qemuIoSays(uri, `read ${place} 512`)).toContain("Input/output error");
    await qemuIoOk(uri, "read -P 7 0 4k", "read -P 7 8k 8k", "read -P 7 24k 40k", "write -P 8 16k 4k");
    await qemuIoOk(uri, "read -P 8 16k 4k");
    const { counts, settings } = await of("worn");
    expect(settings.blocks).toBe("1,5");
    expect(counts).toEqual({ failedReads: 3, failedWrites: 0, clearedBlocks: 1, badBlocks: 2 });
    // Another setting leaves the list as it has become.
    await set("worn", "enabled=false");
    await qemuIoOk(uri, "read 0 64k");
    await set("worn", "enabled=true");
    expect((await of("worn")).settings.blocks).toBe("1,5");
    await set("worn", "blocks=");
    await qemuIoOk(uri, "read 0 64k");
  });

  it("a disk turns read-only under its client", async () => {
    await qemuIoOk(uri, "write -P 7 0 64k");
    await set("wearing", "enabled=true");
    for (const command of ["write 0 4k", "write -z 0 4k"])
      expect(await qemuIoSays(uri, command)).toContain("Operation not permitted");
    await qemuIoOk(uri, "read -P 7 0 64k", "flush");
    expect((await of("wearing")).counts.refused).toBeGreaterThanOrEqual(2);
    await set("wearing", "enabled=false");
    await qemuIoOk(uri, "write -P 8 0 4k", "read -P 8 0 4k");
  });

  it("a limit and a delay take no longer than they are set", async () => {
    await set("limited", "writeBandwidth=1", "burst=0s");
    const writes = qemuIoOk(uri, "write -P 7 0 4k", "write -P 7 4k 4k"); // an hour and more between them
    await expect.poll(async () => (await status()).queues.some(({ inFlight }) => inFlight > 0)).toBe(true);
    await set("limited", "writeBandwidth=0");
    await writes;
    await set("slow", "read=1h", "write={uniform: [5ms, 10ms]}", "discard={normal: [1ms, 0s]}");
    const read = qemuIoOk(uri, "read -P 7 0 8k");
    await qemuIoOk(uri, "write -P 8 64k 4k", "discard 64k 4k", "flush");
    await set("slow", "read=");
    await read;
    const { counts, settings } = await of("slow");
    expect(counts.delayed).toBeGreaterThanOrEqual(4);
    expect(settings).toMatchObject({ write: "uniform 5000000 10000000", flush: "trace" });
    expect(settings).not.toHaveProperty("read");
  });

  it("another trace needs another server", async () => {
    writeFileSync(join(home, "other.txt"), "1ms\n");
    expect(await ublkStack("set", "demo", "slow", "trace=other.txt")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("cannot take this while it runs"),
    });
    await set("slow", "read=trace");
    await qemuIoOk(uri, "read 0 4k");
    writeFileSync(join(home, "demo.yaml"), STACK.replace("trace.txt", "none.txt"));
    const refused = await ublkStack("apply", "demo.yaml");
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain(
      'demo.yaml:10:44: error: trace "none.txt" of layer "slow" does not exist',
    );
  });
});
