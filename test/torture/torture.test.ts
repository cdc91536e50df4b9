/**
 * The simulator of native/, with a bounded number of crash states: none of them breaks a promise, and planted bugs are
 * found. Sanitized, so that whatever the layers do on their way is watched too. qemu-img judges images, too.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const here = import.meta.dirname;
const program = (mode: string) => resolve(here, `../../native/build/Torture/${mode}/torture`);

interface Outcome {
  status: number;
  output: string;
}

// Not synchronously: the test runner has to be able to talk meanwhile.
const run = (command: string, ...args: string[]) =>
  new Promise<Outcome>((done) => {
    execFile(command, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      done({ status, output: `${stderr}${stdout}` });
    });
  });

const images = mkdtempSync(join(tmpdir(), "torture-"));
afterAll(() => rmSync(images, { recursive: true }));

beforeAll(async () => {
  for (const mode of ["sanitized", "fast", "mutants"]) {
    const { status, output } = await run("bash", join(here, "build.sh"), mode);
    if (status !== 0) throw new Error(output);
  }
}, 1_800_000);

it.each(["mirror", "stripe", "linear", "qcow2"])("no crash state of %s breaks a promise", async (layer) => {
  const { status, output } = await run(
    program("sanitized"),
    ...["--seed", "1", "--states", "7000", "--layer", layer],
  );
  expect(output).toMatch(/nothing found in \d{4,} crash states/);
  expect(status).toBe(0);
});

// What once broke a promise; the steps of a seed change with the simulator, and with what it simulates.
it.each([
  ["a mirror that takes a member back after its flush has failed", "21", "504"],
  ["a write by an image's map to a mirror, by a server that was killed then", "101", "712"],
  ["a snapshot while requests see what was given up", "202", "427"],
  ["a snapshot of a member that is being copied", "201", "1175"],
])("%s breaks none", async (_, seed, number) => {
  const args = ["--seed", seed, "--case", number, "--layer", "qcow2"];
  const { status, output } = await run(program("fast"), ...args);
  expect(output).toMatch(/nothing found in \d+ crash states/);
  expect(status).toBe(0);
});

it("gives the same states for the same seed", async () => {
  const args = ["--seed", "7", "--states", "1000", "--layer", "mirror"];
  const both = await Promise.all([run(program("fast"), ...args), run(program("sanitized"), ...args)]);
  const [fast, sanitized] = both.map(({ output }) => /(\d+) crash states in (\d+) cases/.exec(output)?.[0]);
  expect(fast).toBeDefined();
  expect(sanitized).toBe(fast);
});

it("leaves no image behind that qemu-img calls corrupt", async () => {
  const args = ["--seed", "3", "--states", "1000", "--layer", "qcow2", "--leave", images];
  expect((await run(program("fast"), ...args)).status).toBe(0);
  const left = readdirSync(images);
  expect(left.length).toBe(100);
  for (const name of left) {
    const { status, output } = await run("qemu-img", "check", "-f", "qcow2", join(images, name));
    expect([0, 3], `${name}: ${output}`).toContain(status); // 3: leaks
  }
});

const MUTANTS = [
  "state-not-flushed",
  "drop-not-recorded",
  "dirty-not-recorded",
  "settle-skipped",
  "flush-not-passed",
  "fua-not-passed",
  "fence-skipped",
  "window-ignored",
].map((mutant) => ({ mutant, layer: "mirror" }));

// Each is a change of the layer's own code.
const IMAGE_MUTANTS = readdirSync(join(here, "mutants")).map((script) => ({
  mutant: script.replace(/\.sed$/, ""),
  layer: "qcow2",
}));

it.each([...MUTANTS, ...IMAGE_MUTANTS])(
  "finds the planted bug $mutant, and its seed shows it again",
  async ({ mutant, layer }) => {
    const { status, output } = await run(
      program("fast"),
      ...["--seed", "1", "--states", "60000", "--layer", layer, "--mutant", mutant],
    );
    expect(output).toMatch(/case \d+ has failed/);
    expect(output).toMatch(/^FAILED: /m);
    expect(status).toBe(1);
    const [, again = ""] = /again: npm run torture -- (.*)/.exec(output) ?? [];
    const second = await run(program("fast"), ...again.split(" "));
    expect(second.status).toBe(1);
    expect(second.output).toContain(/^FAILED: .*$/m.exec(output)?.[0]);
  },
);

it("refuses what it does not know", async () => {
  for (const args of [["--layer", "raid9"], ["--mutant", "none-such"], ["--states", "many"], ["surplus"]])
    expect((await run(program("fast"), ...args)).status).toBe(2);
});
