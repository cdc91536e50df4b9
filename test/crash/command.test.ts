/** `ublk-stack crash --log` as a user sees it: planted mistakes are found, and shown again by the command it names. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { CrashReport } from "../../src/crash/report.js";
import { CLI, type Result, ROOT, run, temporaryFolder, userEnv } from "../cli/harness.js";
import { discard, type Entry, encodeLog, flush, mark, SECTOR, write } from "./log-writer.js";
import { makeImage } from "./planted/image.mjs";
import { makeTransfers } from "./planted/journal.mjs";

const planted = (tool: string) => join(ROOT, "test/crash/planted", `${tool}.mjs`);
const DISK_BYTES = 64 * SECTOR;

/** What a tool does to a disk, as a log. */
function recorded(make: (disk: object, options: { hasty: boolean }) => void, hasty: boolean): Buffer {
  const entries: Entry[] = [];
  const disk = {
    write: (offset: number, data: Uint8Array) =>
      entries.push({ sector: offset / SECTOR, sectors: data.length / SECTOR, flags: 0, data }),
    flush: () => entries.push(flush),
  };
  make(disk, { hasty });
  return encodeLog(entries);
}

async function crash(home: string, ...args: string[]): Promise<Result> {
  return await run(process.execPath, [CLI, "crash", ...args], {
    env: userEnv(home, { TMPDIR: home }),
    cwd: home,
  });
}

async function explore(
  log: Buffer,
  check: string,
  ...more: string[]
): Promise<{ home: string; result: Result }> {
  const home = temporaryFolder();
  writeFileSync(join(home, "write.log"), log);
  const line = ["--log", "write.log", "--size", String(DISK_BYTES), "--check", check, ...more];
  return { home, result: await crash(home, ...line) };
}

const reportOf = ({ stdout }: Result) => JSON.parse(stdout) as CrashReport;
const checkWith = (tool: string) => `${process.execPath} ${planted(tool)} check $UBLK_STACK_FILE`;

describe.each([
  // The header is entry 7 (blocks 0 to 5, table 6): of the table and the blocks the first to be missed is the table.
  { tool: "image", make: makeImage, smallest: /^7-\d$/, words: /table|block/ },
  // Accounts 0 and 1, flush 2, journal 3: its first sector alone.
  { tool: "journal", make: makeTransfers, smallest: /^3~0$/, words: /are not 1000/ },
])("the $tool tool", ({ tool, make, smallest, words }) => {
  it("is good when it flushes and checks as it should", async () => {
    const { home, result } = await explore(
      recorded(make, false),
      checkWith(tool),
      "-o",
      "json",
      "--tears",
      "8",
    );
    expect(result).toMatchObject({ status: 0, stderr: "" });
    const { counts, smallest: none, folder } = reportOf(result);
    expect(none).toBe(null);
    expect(folder).toBe(null);
    expect(counts.states).toBe(counts.total);
    expect(counts.checked + counts.known).toBeGreaterThan(10);
    expect(readdirSync(home)).toEqual(["write.log"]);
  });

  it("in haste is found out, with the smallest state, and shown again", async () => {
    const { home, result } = await explore(
      recorded(make, true),
      checkWith(tool),
      "-o",
      "json",
      "--resume",
      "found",
    );
    expect(result.status).toBe(1);
    const { smallest: found, failing, counts } = reportOf(result);
    expect(found?.id).toMatch(smallest);
    expect(found).toMatchObject({ failsAgain: true, exit: 1, signal: null, timedOut: false });
    expect(found?.output).toMatch(words);
    expect(failing.length).toBeGreaterThan(0);
    expect(counts.failed).toBeGreaterThanOrEqual(failing.length);

    const words2 = (found?.reproduce ?? "").split(" ").slice(2);
    const again = await crash(home, ...words2, "-o", "json", "--image", "bad.img");
    expect(again.status).toBe(1);
    expect(JSON.parse(again.stdout)).toMatchObject({ state: found?.id, output: found?.output, ok: false });
    const checked = await run(process.execPath, [planted(tool), "check", join(home, "bad.img")], {
      env: userEnv(home),
    });
    expect(checked).toMatchObject({ status: 1, stdout: found?.output });
  });

  it("in haste ends at the first bad state, if that is enough", async () => {
    const { result } = await explore(
      recorded(make, true),
      checkWith(tool),
      "-o",
      "json",
      "--fail-fast",
      "--jobs",
      "1",
    );
    expect(result.status).toBe(1);
    const { counts, smallest: found } = reportOf(result);
    expect(found?.id).toMatch(smallest);
    expect(counts.states).toBeLessThan(counts.total);
  });
});

const SMALL = encodeLog([
  write(0, 1, 1),
  write(2, 2, 2),
  flush,
  mark("ready"),
  discard(0, 1),
  write(5, 1, 3),
]);

describe("crash --log", () => {
  it("gives the check a disk of the right size, and checks equal disks once", async () => {
    const same = encodeLog([write(0, 1, 1), flush, write(0, 1, 1), flush, write(0, 1, 1)]);
    const check = `test "$(stat -c %s "$UBLK_STACK_FILE")" = ${DISK_BYTES} && test -z "$UBLK_STACK_URI$UBLK_STACK_DEVICE"`;
    const { result } = await explore(same, check, "-o", "json");
    expect(result.status).toBe(0);
    expect(reportOf(result).counts).toMatchObject({ states: 4, checked: 2, pruned: 2 });
  });

  it("keeps what a check writes from the next state", async () => {
    // Each check sees the disk that the log makes, and spoils it: by writing, growing, or removing the file.
    const zero = `cmp -n 512 -i 4096:0 "$UBLK_STACK_FILE" /dev/zero`;
    const spoil = [
      `printf x | dd of="$UBLK_STACK_FILE" bs=1 seek=4096 conv=notrunc 2>/dev/null`,
      `truncate -s 1M "$UBLK_STACK_FILE"`,
      `mv "$UBLK_STACK_FILE" "$UBLK_STACK_FILE.away" && rm "$UBLK_STACK_FILE.away"`,
    ];
    for (const damage of spoil) {
      const check = `test "$(stat -c %s "$UBLK_STACK_FILE")" = ${DISK_BYTES} && ${zero} && ${damage}`;
      const { result } = await explore(SMALL, check, "--jobs", "1");
      expect(result).toMatchObject({ status: 0 });
    }
  });

  it("uses a log that is cut short up to its last whole entry, and says so", async () => {
    const { result } = await explore(SMALL.subarray(0, SMALL.length - 100), "true");
    expect(result.status).toBe(0);
    expect(result.stdout).toContain("entry 5 of 6 cannot be used: its data are cut short");
    const json = await explore(SMALL.subarray(0, SMALL.length - 100), "true", "-o", "json");
    expect(reportOf(json.result).log).toMatchObject({
      entries: 5,
      cut: expect.stringContaining("cut short"),
    });
  });

  it("begins at a mark", async () => {
    const { result } = await explore(
      SMALL,
      "cmp -n 512 $UBLK_STACK_FILE /dev/zero",
      "--from",
      "ready",
      "-o",
      "json",
    );
    expect(result.status).toBe(1);
    // The first sector is written before the mark; only after the discard is it zero.
    expect(reportOf(result).failing.map(({ id }) => id)).toEqual(["start", "5-4"]);
    const unknown = await explore(SMALL, "true", "--from", "there");
    expect(unknown.result).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('its marks: "ready"'),
    });
  });

  it("stands on the disk as it was", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "write.log"), SMALL);
    writeFileSync(join(home, "base.img"), Buffer.alloc(DISK_BYTES, 7));
    const first = "od -An -tx1 -N1 $UBLK_STACK_FILE";
    const last = `tail -c 1 $UBLK_STACK_FILE | od -An -tx1`;
    const check = `test "$(${last})" = " 07" && case "$(${first})" in " 00"|" 01"|" 07") ;; *) exit 1;; esac`;
    const result = await crash(home, "--log", "write.log", "--base", "base.img", "--check", check);
    expect(result).toMatchObject({ status: 0, stdout: expect.stringContaining("no bad state") });
  });

  it("goes on where it was: what was checked is not checked again", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "write.log"), SMALL);
    // Ends itself in the middle, as a power cut would.
    const check = `echo x >>${home}/checks; test $(wc -l <${home}/checks) != 4 || kill -9 $PPID`;
    const line = [
      "--log",
      "write.log",
      "--size",
      String(DISK_BYTES),
      "--check",
      check,
      "--resume",
      "here",
      "--jobs",
      "1",
      "--check-all",
    ];
    expect((await crash(home, ...line)).status).toBe(null);
    const before = readFileSync(join(home, "here/journal.ndjson"), "utf8").trim().split("\n").length;
    expect(before).toBe(3);
    const refused = await crash(home, ...line);
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining("was begun with") });
    const done = await crash(home, "--resume", "here", "-o", "json", "--check-all");
    expect(done.status).toBe(0);
    const { counts } = reportOf(done);
    const lines = readFileSync(join(home, "checks"), "utf8").trim().split("\n").length;
    expect(counts.checked).toBe(lines - before - 1);
    expect(counts.states).toBe(counts.checked + counts.pruned);
    // Another log under the same folder is no continuation.
    writeFileSync(join(home, "write.log"), encodeLog([write(1, 1, 1)]));
    expect(await crash(home, "--resume", "here")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("not the one"),
    });
  });

  it("takes a check that hangs for one that failed, and leaves nothing of it running", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "write.log"), encodeLog([write(0, 1, 1)]));
    const check = `echo begun; sh -c 'echo $$ >>${home}/pids; exec sleep 1000' & exec sleep 1000`;
    const line = [
      "--log",
      "write.log",
      "--size",
      String(DISK_BYTES),
      "--check",
      check,
      "--timeout",
      "300ms",
      "-o",
      "json",
    ];
    const result = await crash(home, ...line, "--fail-fast");
    expect(reportOf(result).smallest).toMatchObject({ timedOut: true, signal: "SIGKILL", output: "begun\n" });
    for (const pid of readFileSync(join(home, "pids"), "utf8").trim().split("\n")) {
      expect(existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`, "utf8")).toBeFalsy();
    }
  });

  it("leaves nothing behind when it is interrupted", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "write.log"), SMALL);
    // The check itself presses Ctrl-C, once it runs.
    const check = `echo $UBLK_STACK_FILE >${home}/seen; kill -INT $PPID; exec sleep 1000`;
    const result = await crash(
      home,
      "--log",
      "write.log",
      "--size",
      String(DISK_BYTES),
      "--check",
      check,
      "--jobs",
      "1",
    );
    expect(result.status).toBe(130);
    expect(readdirSync(home).sort()).toEqual(["seen", "write.log"]);
    expect(existsSync(readFileSync(join(home, "seen"), "utf8").trim())).toBe(false);
  });

  it.each([
    [["--log", "x.log", "--check", "true"], "--size"],
    [["--log", "x.log", "--size", "1MiB"], "--check"],
    [["--log", "x.log", "--size", "1MiB", "--check", "true"], "cannot read the log"],
    [["--log", "write.log", "--size", "100", "--check", "true"], "multiple of 512"],
    [["--log", "write.log", "--size", "1MiB", "--check", "true", "--run", "true"], "--run"],
    [["--check", "true"], "--run"],
    [["--log", "write.log", "--size", "1MiB", "--check", "true", "--state", "3"], "--resume"],
    [["--log", "write.log", "--size", "1MiB", "--check", "true", "--image", "y"], "--state"],
    [["--log", "write.log", "--size", "1MiB", "--check", "true", "--subsets", "-3"], "--subsets"],
    [["stack.yaml", "--log", "write.log", "--size", "1MiB", "--check", "true"], "either"],
  ])("%j is refused", async (args, words) => {
    const home = temporaryFolder();
    writeFileSync(join(home, "write.log"), SMALL);
    expect(await crash(home, ...args)).toMatchObject({ status: 2, stderr: expect.stringContaining(words) });
  });

  it("says when a named state is none", async () => {
    const { home } = await explore(SMALL, "true", "--resume", "here");
    expect(await crash(home, "--resume", "here", "--state", "77")).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('no state "77"'),
    });
    expect((await crash(home, "--resume", "here", "--state", "start")).status).toBe(0);
  });
});
