import { describe, expect, it } from "vitest";
import { VERBS } from "../../src/cli/registry.js";
import { packageVersion } from "../../src/reconcile/build-id.js";
import { cli, shell } from "./harness.js";

describe("help and version", () => {
  it("prints the version, however it is asked for", async () => {
    for (const flag of ["--version", "-V"]) {
      expect(await cli([flag])).toEqual({ status: 0, stdout: `${packageVersion()}\n`, stderr: "" });
    }
  });

  it("lists every verb in its group", async () => {
    const { status, stdout, stderr } = await cli(["--help"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    for (const { name, summary, group } of VERBS) {
      expect(stdout).toContain(`${group}:`);
      expect(stdout).toMatch(new RegExp(`^  ${name} .*`, "m"));
      expect(stdout).toContain(summary);
    }
  });

  it.each(VERBS.map(({ name }) => name))("explains %s", async (name) => {
    const { status, stdout, stderr } = await cli([name, "--help"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(new RegExp(`^Usage: ublk-stack ${name}`));
    for (const option of VERBS.find((verb) => verb.name === name)?.options ?? []) {
      expect(stdout).toContain(option.flags);
    }
  });

  it("every example of the help is a command line that parses", async () => {
    const { parseCommandLine } = await import("../../src/cli/program.js");
    const { createTerminal } = await import("../../src/cli/common/terminal.js");
    const silent = { write: () => true, on: () => undefined };
    for (const verb of VERBS) {
      for (const example of verb.examples) {
        const words = example.split(/ [<>] /)[0]?.match(/'[^']*'|\S+/g) ?? [];
        const parsed = parseCommandLine(words, createTerminal(silent, silent, {}), "0");
        expect(parsed?.verb.name, example).toBe(verb.name);
      }
    }
  });
});

describe("bad usage exits 2, says one thing on standard error, and nothing on standard output", () => {
  const cases: [words: string[], stderr: string][] = [
    [
      ["aply"],
      "error: unknown command 'aply'\n  did you mean apply?\n  cure: `ublk-stack --help` lists arguments and options\n",
    ],
    [
      ["apply", "--dryrun", "x.yaml"],
      "error: unknown option '--dryrun'\n  did you mean --dry-run?\n  cure: `ublk-stack apply --help` lists arguments and options\n",
    ],
    [
      ["status", "-o", "xml"],
      "error: option '-o, --output <format>' argument 'xml' is invalid. Allowed choices are json, yaml, wide, name\n  cure: `ublk-stack status --help` lists arguments and options\n",
    ],
    [
      ["wait", "--timeout", "soon", "demo"],
      "error: option '--timeout <duration>' argument 'soon' is invalid. expected a duration from 1ms to 24d, such as 30s, 2m or 1h30m\n  cure: `ublk-stack wait --help` lists arguments and options\n",
    ],
    [
      ["wait", "--timeout", "0", "demo"],
      "error: option '--timeout <duration>' argument '0' is invalid. expected a duration from 1ms to 24d, such as 30s, 2m or 1h30m\n  cure: `ublk-stack wait --help` lists arguments and options\n",
    ],
    [
      ["logs", "demo", "--since", "yesterday"],
      "error: option '--since <when>' argument 'yesterday' is invalid. expected a duration such as 5m, or a time such as 2026-01-31T08:00:00Z\n  cure: `ublk-stack logs --help` lists arguments and options\n",
    ],
    [
      ["logs"],
      "error: missing required argument 'name'\n  cure: `ublk-stack logs --help` lists arguments and options\n",
    ],
    [
      ["status", "a", "b"],
      "error: too many arguments for 'status'. Expected 1 argument but got 2\n  cure: `ublk-stack status --help` lists arguments and options\n",
    ],
    [
      ["status", "No_Label"],
      'error: "No_Label" cannot be the name of a stack: names are DNS labels such as "demo"\n  cure: `ublk-stack status --help` lists arguments and options\n',
    ],
    [
      ["logs", "../../etc/passwd"],
      'error: "../../etc/passwd" cannot be the name of a stack: names are DNS labels such as "demo"\n  cure: `ublk-stack logs --help` lists arguments and options\n',
    ],
    [
      ["apply"],
      "error: no file was given: name one, or '-' for standard input\n  cure: `ublk-stack apply --help` lists arguments and options\n",
    ],
    [
      ["wait"],
      "error: no stack was named: give a name or --all\n  cure: `ublk-stack wait --help` lists arguments and options\n",
    ],
    [
      ["delete"],
      "error: no stack was named: give a name, a file, or --all\n  cure: `ublk-stack delete --help` lists arguments and options\n",
    ],
    [
      ["delete", "--all", "demo"],
      "error: --all takes no names: it means every stack\n  cure: `ublk-stack delete --help` lists arguments and options\n",
    ],
    [
      ["controller", "restart"],
      "error: command-argument value 'restart' is invalid for argument 'action'. Allowed choices are run, stop\n  cure: `ublk-stack controller --help` lists arguments and options\n",
    ],
  ];

  it.each(cases)("%j", async (words, stderr) => {
    expect(await cli(words)).toEqual({ status: 2, stdout: "", stderr });
  });

  it("without a verb prints the help as well", async () => {
    const { status, stdout, stderr } = await cli([]);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("Usage: ublk-stack VERB");
    expect(stderr).toContain("error: no verb was given");
  });

  it("says that a folder of the environment must be absolute", async () => {
    const { status, stderr } = await shell("UBLK_STACK_RUN_DIR=here ublk-stack status");
    expect(status).toBe(2);
    expect(stderr).toContain('UBLK_STACK_RUN_DIR must be an absolute path, not "here"');
  });
});
