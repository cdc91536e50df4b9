/** The native unit tests, each by its name, under AddressSanitizer and UndefinedBehaviorSanitizer. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";

const native = resolve(import.meta.dirname, "../../native");
const program = join(native, "build/Sanitized/unit-tests");
const run = promisify(execFile);

const suites = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith("_test.cc"))
  .map((file) => {
    const text = readFileSync(join(import.meta.dirname, file), "utf8");
    const names = [...text.matchAll(/^TEST\((\w+)\)/gm)].map((match) => match[1] ?? "");
    return { suite: file.replace("_test.cc", ""), names };
  });

// Not synchronously: the test runner has to be able to talk meanwhile.
beforeAll(async () => {
  await run("bash", [join(native, "build-sanitized.sh")], { maxBuffer: 64 << 20 });
}, 1_800_000);

describe.each(suites)("$suite", ({ names }) => {
  it.for(names)("%s", async (name, { skip }) => {
    const { stdout, stderr } = await run(program, [name]).catch(
      (error: { stdout: string; stderr: string }) => {
        throw new Error(`${error.stderr}${error.stdout}`);
      },
    );
    expect(stdout).toContain("1 tests, 0 failed");
    const [, reason] = /^SKIPPED: (.*)$/m.exec(stderr) ?? [];
    skip(reason !== undefined, reason);
  });
});

it("has tests of every suite", () => {
  expect(suites.filter(({ names }) => names.length === 0)).toEqual([]);
  expect(suites.length).toBeGreaterThan(2);
});
