/** `ublk-stack crash FILE`: a workload is recorded through a real stack and explored. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { CrashReport } from "../../src/crash/report.js";
import { CLI, type Result, ROOT, run, temporaryFolder, userEnv } from "../cli/harness.js";

const tool = (name: string, verb: string) =>
  `${process.execPath} ${join(ROOT, "test/crash/planted", name)}.mjs ${verb} $UBLK_STACK_FILE`;

const stack = (layers: object, layer: string) => ({
  apiVersion: "ublk-stack/v1",
  kind: "Stack",
  metadata: { name: "fears" },
  spec: { layers, exports: { data: { layer, frontend: "nbd" } } },
});

const PLAIN = stack({ disk: { memory: { size: "64KiB" } } }, "disk");

async function crash(home: string, document: object, ...args: string[]): Promise<Result> {
  writeFileSync(join(home, "stack.yaml"), JSON.stringify(document));
  const env = userEnv(home, { TMPDIR: home });
  return await run(process.execPath, [CLI, "crash", "stack.yaml", ...args, "-o", "json"], { env, cwd: home });
}

const reportOf = (result: Result): CrashReport => {
  if (result.stdout === "") throw new Error(result.stderr);
  return JSON.parse(result.stdout) as CrashReport;
};

describe.each(["image", "journal"])("the %s tool, recorded through a stack", (name) => {
  it("is good when it flushes as it should, and nothing is left behind", async () => {
    const home = temporaryFolder();
    const result = await crash(home, PLAIN, "--run", tool(name, "make"), "--check", tool(name, "check"));
    expect(result).toMatchObject({ status: 0, stderr: "" });
    const report = reportOf(result);
    expect(report.workload).toMatchObject({ exit: 0 });
    expect(report.log.cut).toBe(null);
    expect(report.log.flushes).toBeGreaterThan(0);
    expect(readdirSync(home)).toEqual(["stack.yaml"]);
  });

  it("in haste is found out, and the command that is named shows it again", async () => {
    const home = temporaryFolder();
    const result = await crash(
      home,
      PLAIN,
      "--run",
      tool(name, "make-hasty"),
      "--check",
      tool(name, "check"),
    );
    expect(result.status).toBe(1);
    const { smallest } = reportOf(result);
    expect(smallest).toMatchObject({ failsAgain: true, exit: 1 });
    // One write missing or one torn: no smaller state is bad.
    expect(smallest?.id).toMatch(name === "image" ? /^\d+-\d+$/ : /^\d+~0$/);
    const again = (smallest?.reproduce ?? "").split(" ").slice(2);
    const env = userEnv(home, { TMPDIR: home });
    const shown = await run(process.execPath, [CLI, "crash", ...again], { env, cwd: home });
    expect(shown).toMatchObject({ status: 1, stdout: smallest?.output });
  });
});

describe("a recording", () => {
  it("leaves the user's files alone, and stands on what they hold", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "disk.img"), Buffer.alloc(65536, 7));
    const file = stack({ disk: { file: { path: "disk.img" } } }, "disk");
    const write = "printf x | dd of=$UBLK_STACK_FILE bs=512 seek=1 conv=sync,notrunc,fsync 2>/dev/null";
    // The last byte is the user's; the one that is written is his or the workload's.
    const check = `test "$(tail -c 1 $UBLK_STACK_FILE | od -An -tx1)" = " 07" && od -An -c -j512 -N1 $UBLK_STACK_FILE | grep -q '[x\\\\]'`;
    const result = await crash(home, file, "--run", write, "--check", check);
    expect(reportOf(result)).toMatchObject({ smallest: null, disk: { sizeBytes: 65536 } });
    expect(readFileSync(join(home, "disk.img")).every((byte) => byte === 7)).toBe(true);
  });

  it("begins after the preparation", async () => {
    const home = temporaryFolder();
    const one = "printf 1 | dd of=$UBLK_STACK_FILE bs=512 conv=sync,notrunc,fsync 2>/dev/null";
    const two = "printf 2 | dd of=$UBLK_STACK_FILE bs=512 conv=sync,notrunc,fsync 2>/dev/null";
    const check = `case "$(head -c 1 $UBLK_STACK_FILE)" in 1|2) ;; *) exit 1;; esac`;
    expect((await crash(home, PLAIN, "--run", two, "--check", check)).status).toBe(1);
    expect((await crash(home, PLAIN, "--prepare", one, "--run", two, "--check", check)).status).toBe(0);
  });

  it("of a lower layer is checked through a fresh stack above it", async () => {
    const home = temporaryFolder();
    const above = stack(
      {
        disk: { memory: { size: "128KiB" } },
        half: { partition: { base: "disk", offset: "64KiB" } },
      },
      "half",
    );
    const check = `test "$(nbdinfo --size "$UBLK_STACK_URI")" = 65536 && ${tool("image", "check")}`;
    const line = ["--layer", "disk", "--run", tool("image", "make-hasty"), "--check", check];
    const { smallest, disk, reads, counts } = reportOf(await crash(home, above, ...line));
    expect(disk.sizeBytes).toBe(131072);
    expect(smallest?.id).toMatch(/^\d+-\d+$/);
    // What the server above the disk reads is recorded as well: it opens the same file.
    expect(reads.used).toBe(true);
    expect(counts.known + counts.checked + counts.pruned).toBe(counts.total);
    const good = await crash(
      home,
      above,
      "--layer",
      "disk",
      "--run",
      tool("image", "make"),
      "--check",
      check,
    );
    expect(good.status).toBe(0);
  });

  it("of a mirror below another layer stands for what the mirror holds, whatever its members are", async () => {
    const home = temporaryFolder();
    const pair = stack(
      {
        a: { memory: { size: "128KiB" } },
        b: { memory: { size: "128KiB" } },
        both: { mirror: { members: ["a", "b"] } },
        half: { partition: { base: "both", offset: "64KiB" } },
      },
      "half",
    );
    const check = `test "$(nbdinfo --size "$UBLK_STACK_URI")" = 65536 && ${tool("journal", "check")}`;
    const run = async (verb: string) =>
      reportOf(
        await crash(
          home,
          pair,
          "--layer",
          "both",
          "--run",
          tool("journal", verb),
          "--check",
          check,
          "--subsets",
          "4",
        ),
      );
    const hasty = await run("make-hasty");
    expect(hasty.disk.sizeBytes).toBeLessThanOrEqual(131072);
    expect(hasty.smallest).toMatchObject({ failsAgain: true, id: expect.stringMatching(/^\d+~0$/) });
    expect((await run("make")).smallest).toBe(null);
  });

  it.each([
    ["--layer", "none", 'no layer "none"'],
    ["--layer", "a", 'writes to "b" too'],
  ])("with %s %s is refused", async (option, value, words) => {
    const home = temporaryFolder();
    const pair = stack(
      {
        a: { memory: { size: "64KiB" } },
        b: { memory: { size: "64KiB" } },
        both: { mirror: { members: ["a", "b"] } },
      },
      "both",
    );
    const result = await crash(home, pair, option, value, "--run", "true", "--check", "true");
    expect(result).toMatchObject({ status: 2, stderr: expect.stringContaining(words) });
  });

  it.each([
    ["echo no such luck; exit 3", "ended with exit status 3: no such luck"],
    ["false", "ended with exit status 1: (no output)"],
    ["kill -KILL $$", "ended by SIGKILL: (no output)"],
  ])("ends when the workload fails, with its words: %s", async (command, words) => {
    const home = temporaryFolder();
    const result = await crash(home, PLAIN, "--run", command, "--check", "true");
    expect(result).toMatchObject({ status: 2, stderr: expect.stringContaining(words) });
    expect(readdirSync(home)).toEqual(["stack.yaml"]);
  });

  it("that is interrupted leaves nothing behind", async () => {
    const home = temporaryFolder();
    const result = await crash(home, PLAIN, "--run", "kill -INT $PPID; exec sleep 1000", "--check", "true");
    expect(result.status).toBe(130);
    expect(readdirSync(home)).toEqual(["stack.yaml"]);
    expect(existsSync(join(home, "state"))).toBe(false);
  });
});
