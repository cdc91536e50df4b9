/**
 * The simulator of native/, with a bounded number of crash states: none of them breaks a promise, and planted bugs are
 * found. Sanitized, so that whatever the layers do on their way is watched too.
 */
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { beforeAll, expect, it } from "vitest";

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

beforeAll(async () => {
  for (const mode of ["sanitized", "fast"]) {
    const { status, output } = await run("bash", join(here, "build.sh"), mode);
    if (status !== 0) throw new Error(output);
  }
}, 1_800_000);

it.each(["mirror", "stripe", "linear"])("no crash state of %s breaks a promise", async (layer) => {
  const { status, output } = await run(
    program("sanitized"),
    ...["--seed", "1", "--states", "4000", "--layer", layer],
  );
  expect(output).toMatch(/nothing found in \d{4,} crash states/);
  expect(status).toBe(0);
});

it("gives the same states for the same seed", async () => {
  const args = ["--seed", "7", "--states", "1000", "--layer", "mirror"];
  const both = await Promise.all([run(program("fast"), ...args), run(program("sanitized"), ...args)]);
  const [fast, sanitized] = both.map(({ output }) => /(\d+) crash states in (\d+) cases/.exec(output)?.[0]);
  expect(fast).toBeDefined();
  expect(sanitized).toBe(fast);
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
];

it.each(MUTANTS)("finds the planted bug %s, and its seed shows it again", async (mutant) => {
  const { status, output } = await run(
    program("fast"),
    ...["--seed", "1", "--states", "60000", "--layer", "mirror", "--mutant", mutant],
  );
  expect(output).toMatch(/case \d+ has failed/);
  expect(output).toMatch(/^FAILED: /m);
  expect(status).toBe(1);
  const [, again = ""] = /again: npm run torture -- (.*)/.exec(output) ?? [];
  const second = await run(program("fast"), ...again.split(" "));
  expect(second.status).toBe(1);
  expect(second.output).toContain(/^FAILED: .*$/m.exec(output)?.[0]);
});

it("refuses what it does not know", async () => {
  for (const args of [["--layer", "raid9"], ["--mutant", "none-such"], ["--states", "many"], ["surplus"]])
    expect((await run(program("fast"), ...args)).status).toBe(2);
});
