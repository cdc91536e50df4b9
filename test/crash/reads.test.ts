/** Checks left out because of what others read: what is found stays the same, and nothing stale is ever read. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { CrashReport } from "../../src/crash/report.js";
import { CLI, type Result, run, temporaryFolder, userEnv } from "../cli/harness.js";
import { encodeLog, flush, SECTOR, write } from "./log-writer.js";

const DISK_BYTES = 64 * SECTOR;

/** Three intervals of writes of data, each with two writes to the first sector. */
const LOG = encodeLog(
  [1, 2, 3].flatMap((round) => [
    ...[8, 16, 24, 32].map((sector) => write(sector, 4, 10 * round + sector)),
    write(0, 1, 2 * round),
    write(40, 8, round),
    write(0, 1, 2 * round + 1),
    flush,
  ]),
);

async function explore(home: string, check: string, ...more: string[]): Promise<Result> {
  writeFileSync(join(home, "write.log"), LOG);
  const log = more.includes("--resume") && existsSync(join(home, "here", "session.json"));
  const what = log ? [] : ["--log", "write.log", "--size", String(DISK_BYTES), "--check", check];
  const env = userEnv(home, { TMPDIR: home });
  return await run(process.execPath, [CLI, "crash", ...what, "-o", "json", ...more], { env, cwd: home });
}

function reportOf({ stdout, stderr }: Result): CrashReport {
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as CrashReport;
}

const FIRST = `$(od -An -tu1 -N1 "$UBLK_STACK_FILE")`;
/** Reads one sector, and no more of it than that. */
const FIRST_SECTOR = `test "$(dd if="$UBLK_STACK_FILE" bs=512 count=1 status=none | od -An -tu1 -N1 | tr -d ' ')"`;

describe("checks that are left out", () => {
  it("are those that would have read nothing new; what is found is what all checks find", async () => {
    const check = `${FIRST_SECTOR} != 4`;
    const found = reportOf(await explore(temporaryFolder(), check, "--jobs", "2"));
    const all = reportOf(await explore(temporaryFolder(), check, "--check-all"));
    expect(all.reads).toEqual({ used: false, reason: "--check-all", confirmed: 0 });
    expect(all.counts.known).toBe(0);
    expect(found.reads).toMatchObject({ used: true, reason: null });
    const { states, pruned, known, checked, failed, total } = found.counts;
    expect(states).toBe(pruned + known + checked);
    expect({ states, failed, total }).toEqual({
      states: all.counts.states,
      failed: all.counts.failed,
      total: all.counts.total,
    });
    expect(known).toBeGreaterThan(5 * checked);
    // The first sector holds seven things, and is torn in no way; the first four that are known are checked as well.
    expect(checked).toBeGreaterThanOrEqual(7);
    expect(found.smallest?.id).toBe(all.smallest?.id);
    // One for the check that failed, and one for each that was done to confirm it.
    expect(found.failing.length).toBeLessThan(all.failing.length);
    expect(found.failing[0]?.id).toBe(found.smallest?.id);
  });

  it("are said in the text, and why there are none", async () => {
    const home = temporaryFolder();
    writeFileSync(join(home, "write.log"), LOG);
    const env = userEnv(home, { TMPDIR: home });
    const line = ["crash", "--log", "write.log", "--size", String(DISK_BYTES), "--check", `${FIRST_SECTOR}`];
    const used = await run(process.execPath, [CLI, ...line], { env, cwd: home });
    expect(used.stdout).toMatch(
      /states: \d+ with content seen before, \d+ known by what a check read, \d+ checks/,
    );
    expect(used.stdout).toMatch(/checks only to confirm what was left out/);
    const all = await run(process.execPath, [CLI, ...line, "--check-all"], { env, cwd: home });
    expect(all.stdout).toMatch(/states: \d+ with content seen before, \d+ checks/);
    expect(all.stdout).toContain("every content was checked: --check-all");
  });

  it("are none when a check reads all", async () => {
    const { counts, reads } = reportOf(
      await explore(temporaryFolder(), `cat "$UBLK_STACK_FILE" >/dev/null`, "--subsets", "4"),
    );
    expect(reads.used).toBe(true);
    expect(counts.known).toBe(0);
    expect(counts.checked).toBeGreaterThan(30);
  });

  it("are all but the first when a check reads nothing", async () => {
    const home = temporaryFolder();
    const { counts } = reportOf(await explore(home, "echo x >>checks", "--jobs", "1"));
    expect(counts.known).toBeGreaterThan(100);
    expect(counts.checked).toBeLessThan(20);
  });

  it("are as few as need be when a check mends its disk: what it wrote itself says nothing of the state", async () => {
    // It writes the second sector, and reads it again beside the first.
    const check = [
      `printf x | dd of="$UBLK_STACK_FILE" bs=512 seek=8 conv=notrunc,sync status=none`,
      `test "$(dd if="$UBLK_STACK_FILE" bs=512 skip=8 count=1 status=none | head -c1)" = x`,
      `test ${FIRST} != 4`,
    ].join(" && ");
    const found = reportOf(await explore(temporaryFolder(), `dd() { command dd "$@"; }; ${check}`));
    const all = reportOf(await explore(temporaryFolder(), check, "--check-all"));
    expect(found.counts.failed).toBe(all.counts.failed);
    expect(found.smallest?.id).toBe(all.smallest?.id);
    expect(found.counts.known).toBeGreaterThan(found.counts.checked);
  });
});

describe("a disk that records its reads", () => {
  /** Keeps what each check saw: by read(2), and by a mapping. */
  const SEEING = [
    `sha256sum <"$UBLK_STACK_FILE" >>seen`,
    `python3 -c 'import hashlib, mmap, os, sys
with open(sys.argv[1], "rb") as disk: print(hashlib.sha256(mmap.mmap(disk.fileno(), 0, prot=mmap.PROT_READ)).hexdigest(), " -")' "$UBLK_STACK_FILE" >>mapped`,
  ].join("; ");
  const FEW = ["--subsets", "2", "--tears", "0", "--jobs", "1"];
  const seenIn = (home: string, name: string) =>
    [...new Set(readFileSync(join(home, name), "utf8").trim().split("\n"))].sort();

  it("shows each state as a file does, by reads and by mappings, also while somebody holds it open", async () => {
    const [mine, plain] = [temporaryFolder(), temporaryFolder()];
    // The first check leaves one behind that has read the disk, keeps it open, and is in no group of ours.
    const hold = `test -e held || { setsid sh -c 'exec 3<"$UBLK_STACK_FILE"; cat <&3 >/dev/null; echo $$ >held; exec sleep 600' >/dev/null 2>&1 </dev/null & while ! test -s held; do :; done; }`;
    const found = reportOf(await explore(mine, `${hold}; ${SEEING}`, ...FEW));
    process.kill(Number(readFileSync(join(mine, "held"), "utf8")), "SIGKILL");
    const all = reportOf(await explore(plain, SEEING, ...FEW, "--check-all"));
    expect(found.reads.used).toBe(true);
    expect(found.counts.checked).toBe(all.counts.checked);
    expect(seenIn(mine, "seen")).toEqual(seenIn(plain, "seen"));
    expect(seenIn(mine, "mapped")).toEqual(seenIn(plain, "seen"));
    expect(seenIn(mine, "seen")).toHaveLength(all.counts.checked);
  }, 300_000);

  it("is a file that can be written, cut and made longer, by reads and mappings alike", async () => {
    const check = `python3 - "$UBLK_STACK_FILE" <<'PYTHON'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(fd).st_size
assert os.lseek(fd, 0, os.SEEK_END) == size
before = os.pread(fd, size, 0)
os.pwrite(fd, b"abc", 1021)
assert os.pread(fd, 6, 1020) == before[1020:1021] + b"abc" + before[1024:1026]
with mmap.mmap(fd, size) as m:
    assert m[:] == before[:1021] + b"abc" + before[1024:]
    m[5000:5003] = b"xyz"
    m.flush()
assert os.pread(fd, 5, 4999) == before[4999:5000] + b"xyz" + before[5003:5004]
for at in range(8): os.pwrite(fd, bytes([at]) * 512, 16384 + 512 * at)
assert os.pread(fd, 4096, 16384) == b"".join(bytes([at]) * 512 for at in range(8))
os.ftruncate(fd, 700)
os.ftruncate(fd, size + 100)
assert os.pread(fd, size + 200, 0) == before[:700] + bytes(size - 600)
os.posix_fallocate(fd, 0, size + 600)
assert os.fstat(fd).st_size == size + 600
os.fsync(fd)
PYTHON`;
    const result = await explore(temporaryFolder(), check, ...FEW);
    const { reads, smallest } = reportOf(result);
    expect(smallest).toBe(null);
    expect(reads).toMatchObject({ used: true });
  });

  it("leaves neither mount nor folder behind", async () => {
    const home = temporaryFolder();
    await explore(home, `echo $UBLK_STACK_FILE >path`);
    const path = readFileSync(join(home, "path"), "utf8").trim();
    expect(path).toMatch(/^\/dev\/shm\/|ublk-stack-cli/);
    expect(existsSync(join(path, ".."))).toBe(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(path);
  });

  it("is let go while somebody still reads it, who then fails", async () => {
    const home = temporaryFolder();
    // The first check leaves a reader behind that does not stop by itself; most requests are its own.
    writeFileSync(
      join(home, "reader.py"),
      `import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
open("reading", "w").write("yes")
try:
    while True: os.pread(fd, 512, 0)
except OSError as error:
    open("ended", "w").write(os.strerror(error.errno))
`,
    );
    const check = `test -e reading || { setsid python3 reader.py "$UBLK_STACK_FILE" >/dev/null 2>&1 </dev/null & while ! test -s reading; do :; done; }`;
    const { reads } = reportOf(await explore(home, check, "--subsets", "0", "--jobs", "1"));
    expect(reads.used).toBe(true);
    await expect.poll(() => existsSync(join(home, "ended")), { timeout: 10_000 }).toBe(true);
  });

  it("of an explorer that was killed is cleared away by the next one, and that of one that runs is not", async () => {
    const home = temporaryFolder();
    const killed = await explore(home, `echo $UBLK_STACK_FILE >killed; kill -9 $PPID`, "--jobs", "1");
    expect(killed.status).toBe(null);
    const path = readFileSync(join(home, "killed"), "utf8").trim();
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toContain(path);

    // An explorer within the check of another: the outer one's disk is still there afterwards.
    const inner = `${process.execPath} ${CLI} crash --log write.log --size ${DISK_BYTES} --check true --subsets 0 --tears 0`;
    const check = `${inner} && dd if="$UBLK_STACK_FILE" bs=512 count=1 status=none >/dev/null`;
    const next = reportOf(await explore(home, check, "--subsets", "0", "--tears", "0"));
    expect(next.smallest).toBe(null);
    expect(existsSync(join(path, ".."))).toBe(false);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(path);
    expect(readdirSync(home).filter((name) => name.startsWith("ublk-stack-disks"))).toEqual([]);
  });
});

describe("reads that are not to be trusted", () => {
  it("are not used when the same reads do not lead to the same answer, now and when it goes on", async () => {
    const home = temporaryFolder();
    // From its fourth run on it fails: it depends on something else than its disk.
    const check = `echo x >>runs; ${FIRST_SECTOR} != 77 && test "$(wc -l <runs)" -lt 12`;
    const found = reportOf(await explore(home, check, "--jobs", "1", "--resume", "here"));
    expect(found.reads.used).toBe(false);
    expect(found.reads.reason).toMatch(/found state .* bad, and .* good.*depends on more than its disk/);
    const { states, known, pruned, checked, total } = found.counts;
    expect({ states, known, rest: pruned + checked }).toEqual({ states: total, known: 0, rest: total });
    const again = reportOf(await explore(home, check, "--resume", "here"));
    expect(again.reads.reason).toBe(found.reads.reason);
    expect(again.counts).toMatchObject({ pruned: total, checked: 0 });
  });

  it("are not used when a check does otherwise on a plain file", async () => {
    const check = `test "$(stat -f -c %T "$UBLK_STACK_FILE")" != fuseblk && test "$(stat -f -c %T "$UBLK_STACK_FILE")" != fuse`;
    const { smallest, reads, counts } = reportOf(await explore(temporaryFolder(), check, "--jobs", "1"));
    expect(reads.reason).toMatch(
      /^on state start the check ended with exit status 1 where its reads were recorded, and ended with exit status 0 on a plain file$/,
    );
    expect(smallest).toBe(null);
    expect(counts.checked + counts.pruned).toBe(counts.total);
  });
});

const asNobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
const canBeNobody =
  process.getuid?.() === 0 && spawnSync("setpriv", [...asNobody, "test", "-r", CLI]).status === 0;

it.skipIf(!canBeNobody)(
  "a plain user has it with fusermount3, and is told when it is not there",
  async () => {
    const home = temporaryFolder();
    execFileSync("chown", ["65534:65534", home]);
    writeFileSync(join(home, "write.log"), LOG);
    const line = ["crash", "--log", "write.log", "--size", String(DISK_BYTES), "-o", "json"];
    const args = [...asNobody, process.execPath, CLI, ...line, "--check", `${FIRST_SECTOR} != 4`];
    const env = userEnv(home, { TMPDIR: home });
    const found = reportOf(await run("setpriv", args, { env, cwd: home }));
    const helper = spawnSync("sh", ["-c", "command -v fusermount3"]).status === 0;
    expect(found.reads.used).toBe(helper);
    if (!helper) expect(found.reads.reason).toMatch(/cannot be recorded: fusermount3 \(Debian: fuse3\): /);
    expect(found.smallest?.failsAgain).toBe(true);
  },
);
