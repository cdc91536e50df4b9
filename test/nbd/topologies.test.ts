/** The topologies of stacks/ that go wrong on purpose, as they are in the file, under programs of others. */

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileFor } from "../../src/crash/nbd-file.js";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { cli, type Result, ROOT, run, temporaryFolder, userEnv } from "../cli/harness.js";
import { MIB, qemuIoOk, qemuIoSays } from "./harness.js";

let home: string;
let env: Record<string, string>;
const command = (...words: string[]): Promise<Result> => cli(words, { env, cwd: home });
const ok = async (...words: string[]) =>
  expect(await command(...words)).toMatchObject({ status: 0, stderr: "" });

async function status(stack: string): Promise<StatusItem["status"]> {
  const { items } = JSON.parse((await command("status", stack, "-o", "json")).stdout) as {
    items: [StatusItem];
  };
  return items[0].status;
}
const counts = async (stack: string, layer: string) =>
  (await status(stack)).instruments.find((one) => one.layer === layer)?.counts ?? {};

/** Applies it; its export's address. */
async function apply(stack: string): Promise<string> {
  copyFileSync(join(ROOT, "stacks", `${stack}.yaml`), join(home, `${stack}.yaml`));
  await ok("apply", `${stack}.yaml`);
  return (await status(stack)).exports.data?.uri ?? "";
}

/** So many MiB in which every 512 bytes differ. */
function pattern(mib: number): Buffer {
  const data = Buffer.alloc(mib * MIB);
  for (let at = 0; at < data.length; at += 512) data.fill(`block ${at / 512} `, at, at + 512);
  return data;
}

beforeEach(() => {
  home = temporaryFolder();
  env = userEnv(home);
});
afterEach(async () => {
  await command("delete", "--all", "--force");
  await command("controller", "stop");
});

describe("a failing disk under ext4", () => {
  const FILES = 34;

  it("is written over, gets worse, and is well again", async () => {
    const uri = await apply("failing-disk");
    expect(await qemuIoSays(uri, "read 40M 4k")).toContain("Input/output error");
    expect(await qemuIoSays(uri, "write 48M 4k")).toContain("Input/output error");
    const file = await fileFor("UBLK_STACK_FILE", uri);
    const disk = file?.path ?? "";
    const program = (name: string, ...args: string[]) => run(name, args, { env, cwd: home });
    /** Files that debugfs(8) does not get back as they were. */
    async function lost(): Promise<number> {
      let bad = 0;
      for (let i = 0; i < FILES; i++) {
        await program("debugfs", "-R", `dump f${i} got`, disk);
        if (!readFileSync(join(home, "got")).equals(pattern(1))) bad++;
      }
      return bad;
    }
    try {
      const made = await program("mkfs.ext4", "-q", "-F", "-b", "4096", disk);
      expect(made).toMatchObject({ status: 0 });
      writeFileSync(join(home, "one"), pattern(1));
      writeFileSync(
        join(home, "commands"),
        Array.from({ length: FILES }, (_, i) => `write one f${i}\n`).join(""),
      );
      expect(await program("debugfs", "-w", "-f", "commands", disk)).toMatchObject({ status: 0 });
      expect(await lost()).toBe(0);
      // Blocks that were bad hold files now.
      expect(Number((await counts("failing-disk", "worn")).clearedBlocks)).toBeGreaterThan(0);
      await ok("set", "failing-disk", "sick", "ops=[read]", "start=20MiB", "length=4MiB");
      expect(await lost()).toBeGreaterThan(2);
      await ok("apply", "failing-disk.yaml");
      expect(await lost()).toBe(0);
      expect(await program("e2fsck", "-fn", disk)).toMatchObject({ status: 0 });
    } finally {
      await file?.close();
    }
  });
});

describe("a mirror whose member dies in the middle of its rebuild", () => {
  it("serves on from the other, and is whole after another rebuild", async () => {
    writeFileSync(join(home, "dying-rebuild-0.img"), pattern(64));
    const uri = await apply("dying-rebuild");
    const second = async () => (await status("dying-rebuild")).mirrors[0]?.members[1];
    await expect.poll(async () => (await second())?.state).toBe("dropped");
    // Four MiB are copied at a time, and any of them may be written first.
    const reason = /^write failed: Input\/output error at offset (\d+)$/.exec((await second())?.reason ?? "");
    const failed = Number(reason?.[1]);
    expect([32, 33, 34, 35]).toContain(failed / MIB);
    const member = (index: number) => readFileSync(join(home, `dying-rebuild-${index}.img`));
    expect(
      member(1)
        .subarray(0, 16 * MIB)
        .equals(member(0).subarray(0, 16 * MIB)),
    ).toBe(true);
    expect(
      member(1)
        .subarray(failed, failed + MIB)
        .equals(Buffer.alloc(MIB)),
    ).toBe(true);
    await qemuIoOk(uri, "write -P 5 40M 64k", "write -P 6 1M 64k", "read -P 5 40M 64k", "read -P 6 1M 64k");

    await ok("apply", "--readd", "dying-rebuild.yaml");
    await ok("wait", "--for=synced", "dying-rebuild");
    await ok("delete", "dying-rebuild");
    expect(member(1).equals(member(0))).toBe(true);
    const kept = pattern(64)
      .fill(5, 40 * MIB, 40 * MIB + 65536)
      .fill(6, MIB, MIB + 65536);
    expect(member(0).equals(kept)).toBe(true);
  });
});

describe("a slow disk among fast ones", () => {
  it("holds up what lies on it, and nothing else", async () => {
    const uri = await apply("slow-disk");
    const delayed = async () => Number((await counts("slow-disk", "slow")).delayed);
    // Chunks of 64 KiB on three disks in turn.
    await qemuIoOk(uri, "write -P 1 0 64k", "write -P 3 128k 64k", "read -P 1 0 64k", "read -P 3 128k 64k");
    expect(await delayed()).toBe(0);
    await qemuIoOk(uri, "write -P 2 64k 64k", "read -P 2 64k 4k");
    expect(await delayed()).toBe(2);
    await qemuIoOk(uri, "read 0 192k");
    expect(await delayed()).toBe(3);
  });
});

describe("a disk that lies about flush", () => {
  it("says well, and what it was told to keep is not kept", async () => {
    const uri = await apply("lying-disk");
    await qemuIoOk(uri, "write -P 7 0 64k", "flush", "read -P 7 0 64k");
    const told = await counts("lying-disk", "liar");
    expect(Number(told.loseFlushes)).toBeGreaterThanOrEqual(2); // that of the write, which is written through, too
    expect(await counts("lying-disk", "record")).toMatchObject({ flushes: 0, entries: 0, unflushed: 1 });
    // The truth from now on: a flush keeps all that was written before.
    await ok("set", "lying-disk", "liar", "loseFlushes={probability: 0}");
    await qemuIoOk(uri, "flush");
    expect(await counts("lying-disk", "record")).toMatchObject({ unflushed: 0, writes: 1 });
  });
});
