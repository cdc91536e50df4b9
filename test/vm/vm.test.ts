/**
 * The cases on real ublk: every script in test/vm/cases, run in one boot of the virtual machine, one test each.
 * Where no virtual machine can be had (no QEMU, no network to fetch a kernel), all of them are skipped aloud.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

/** What vm.sh says when the machine lacks something that it needs. */
const EXIT_UNAVAILABLE = 77;
/** For all cases together; a busy machine needs several times what a quiet one does. */
const MACHINE_SECONDS = 3600;

const run = promisify(execFile);
const here = resolve(import.meta.dirname);
const cases = readdirSync(join(here, "cases"))
  .filter((name) => name.endsWith(".sh"))
  .sort();

// Not under /tmp: the guest sees the host's files, but has a /tmp of its own.
const build = join(here, "../../build");
let results = "";
const machine = { status: null as number | null, complaint: "" };

/** Boots once and runs every case. Not synchronously: the test runner has to be able to talk meanwhile. */
beforeAll(async () => {
  mkdirSync(build, { recursive: true });
  results = mkdtempSync(join(build, "vm-results-"));
  // Here and not in the machine, which would take ten times as long.
  await run("bash", [join(here, "../../native/build-sanitized.sh")]);
  await run("bash", [join(here, "../bpf/differential/build.sh")]);
  const scripts = cases.map((name) => join(here, "cases", name));
  const command = ["bash", join(here, "guest-runner.sh"), results, ...scripts];
  const child = spawn(
    "bash",
    [join(here, "vm.sh"), "--timeout", String(MACHINE_SECONDS), "--disk", "8G", "--", ...command],
    { stdio: ["ignore", "inherit", "pipe"] },
  );
  child.stderr.on("data", (data: Buffer) => {
    machine.complaint += data.toString();
    process.stderr.write(data);
  });
  machine.status = await new Promise((done) => child.once("close", done));
  if (machine.status === EXIT_UNAVAILABLE) {
    console.warn(`SKIPPED: ${cases.length + 1} tests on real ublk: ${machine.complaint.trim()}`);
  }
}, MACHINE_SECONDS * 1100);

function outcome(name: string): { status: string; log: string } {
  const stem = join(results, name.replace(/\.sh$/, ""));
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return "(nothing: the machine ended before this case did)";
    }
  };
  return { status: read(`${stem}.status`).trim(), log: read(`${stem}.log`) };
}

afterAll(() => rmSync(results, { recursive: true, force: true }));

describe("on real ublk, in the virtual machine", () => {
  beforeEach(({ skip }) => skip(machine.status === EXIT_UNAVAILABLE, machine.complaint.trim()));

  it.each(cases)("%s", (name) => {
    const { status, log } = outcome(name);
    expect(status, log).toBe("0");
  });

  it("leaves the kernel without an oops, a warning or a hung task", () => {
    expect(machine.status, machine.complaint).toBe(0);
  });
});

describe("the harness", () => {
  it("has scripts that bash can read", () => {
    for (const name of cases) execFileSync("bash", ["-n", join(here, "cases", name)]);
    expect(cases.length).toBeGreaterThan(0);
  });
});
