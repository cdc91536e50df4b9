/**
 * The cases on real ublk: every script in test/vm/cases, run in one boot of the virtual machine, one test each.
 * Where no virtual machine can be had (no QEMU, no network to fetch a kernel), all of them are skipped aloud.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

/** What vm.sh says when the machine lacks something that it needs. */
const EXIT_UNAVAILABLE = 77;

const here = resolve(import.meta.dirname);
const cases = readdirSync(join(here, "cases"))
  .filter((name) => name.endsWith(".sh"))
  .sort();

// Not under /tmp: the guest sees the host's files, but has a /tmp of its own.
const build = join(here, "../../build");
mkdirSync(build, { recursive: true });
const results = mkdtempSync(join(build, "vm-results-"));
const run = spawnSync(
  "bash",
  [
    join(here, "vm.sh"),
    "--timeout",
    "2700",
    "--disk",
    "8G",
    "--",
    "bash",
    join(here, "guest-runner.sh"),
    results,
    ...cases.map((name) => join(here, "cases", name)),
  ],
  { encoding: "utf8", stdio: ["ignore", "inherit", "pipe"] },
);
process.stderr.write(run.stderr);
const unavailable = run.status === EXIT_UNAVAILABLE;
if (unavailable) {
  console.warn(`SKIPPED: ${cases.length} tests on real ublk: ${run.stderr.trim()}`);
}

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

describe.skipIf(unavailable)("on real ublk, in the virtual machine", () => {
  it.each(cases)("%s", (name) => {
    const { status, log } = outcome(name);
    expect(status, log).toBe("0");
  });

  it("leaves the kernel without an oops, a warning or a hung task", () => {
    expect(run.status, run.stderr).toBe(0);
  });
});

describe("the harness", () => {
  it("has scripts that bash can read", () => {
    for (const name of cases) execFileSync("bash", ["-n", join(here, "cases", name)]);
    expect(cases.length).toBeGreaterThan(0);
  });
});
