import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { complete } from "../../src/cli/complete.js";
import { VERBS } from "../../src/cli/registry.js";
import { CLI, cli, hasProgram, quoted, run, temporaryFolder, userEnv } from "./harness.js";

const names = { stacks: async () => ["demo", "other"], images: async () => ["demo/disk"] };

async function offered(...words: string[]): Promise<string[]> {
  const { candidates, files } = await complete(words, names);
  return [...candidates.map(({ value }) => value), ...(files === "none" ? [] : [`<${files}>`])];
}

describe("what is offered", () => {
  it("verbs first", async () => {
    expect(await offered("")).toEqual(VERBS.map(({ name }) => name));
    expect(await offered("de")).toEqual(["delete"]);
    expect(await offered("de", "")).toEqual([]);
    expect(await offered()).toEqual(VERBS.map(({ name }) => name));
  });

  it("flags of the verb, after a dash", async () => {
    expect(await offered("wait", "--")).toEqual(["--for", "--all", "--timeout", "--help"]);
    expect(await offered("wait", "--f")).toEqual(["--for"]);
    expect(await offered("--v")).toEqual(["--version"]);
  });

  it("values of flags, in every way of writing them", async () => {
    expect(await offered("status", "-o", "")).toEqual(["json", "yaml", "wide", "name"]);
    expect(await offered("status", "--output", "w")).toEqual(["wide"]);
    expect(await offered("status", "--output=w")).toEqual(["--output=wide"]);
    expect(await offered("status", "--output", "=", "w")).toEqual(["wide"]);
    expect(await offered("status", "--output", "=")).toEqual(["json", "yaml", "wide", "name"]);
    expect(await offered("wait", "--for", "")).toEqual(["ready", "synced"]);
    expect(await offered("wait", "--timeout", "")).toEqual([]);
    expect(await offered("apply", "--filename=")).toEqual(["<files>"]);
  });

  it("stacks where a name fits, files where a file fits", async () => {
    expect(await offered("status", "")).toEqual(["demo", "other"]);
    expect(await offered("status", "-o", "json", "d")).toEqual(["demo"]);
    expect(await offered("status", "--output=json", "d")).toEqual(["demo"]);
    expect(await offered("status", "demo", "")).toEqual([]);
    expect(await offered("apply", "")).toEqual(["<files>"]);
    expect(await offered("apply", "a.yaml", "")).toEqual(["<files>"]);
    expect(await offered("apply", "-f", "")).toEqual(["<files>"]);
    expect(await offered("delete", "demo", "o")).toEqual(["other", "<files>"]);
    expect(await offered("graph", "")).toEqual(["demo", "other", "<files>"]);
    expect(await offered("wait", "--", "d")).toEqual(["demo"]);
  });

  it("layers that are images, and any file, where an image fits", async () => {
    expect(await offered("image", "")).toEqual(["info", "check", "map", "compact"]);
    expect(await offered("image", "map", "")).toEqual(["demo/disk", "<any>"]);
    expect(await offered("image", "-U", "map", "x")).toEqual(["<any>"]);
    expect(await offered("snapshot", "")).toEqual(["demo/disk"]);
    expect(await offered("snapshot", "demo/disk", "a")).toEqual(["apply"]);
  });

  it("choices of arguments", async () => {
    expect(await offered("controller", "")).toEqual(["run", "stop"]);
    expect(await offered("completion", "z")).toEqual(["zsh"]);
  });

  it("nothing, for what nobody knows", async () => {
    expect(await offered("frobnicate", "")).toEqual([]);
    expect(await offered("status", "--frob=")).toEqual([]);
    expect(await offered("schema", "")).toEqual([]);
  });
});

/** A home with the command on its PATH, two applied stacks, and files to complete. */
function home(): { env: Record<string, string>; cwd: string } {
  const cwd = temporaryFolder();
  const env = userEnv(cwd);
  for (const name of ["demo", "detour"]) {
    mkdirSync(join(cwd, "state", "stacks", name), { recursive: true });
    writeFileSync(join(cwd, "state", "stacks", name, "stack.json"), "{}");
  }
  mkdirSync(join(cwd, "state", "stacks", "half-made"), { recursive: true });
  writeFileSync(join(cwd, "stack one.yaml"), "");
  writeFileSync(join(cwd, "stack.json"), "");
  writeFileSync(join(cwd, "stack.txt"), "");
  mkdirSync(join(cwd, "stacks"));
  mkdirSync(join(cwd, "bin"));
  const command = join(cwd, "bin", "ublk-stack");
  writeFileSync(command, `#!/bin/sh\nexec ${quoted(process.execPath)} ${quoted(CLI)} "$@"\n`);
  chmodSync(command, 0o755);
  return { cwd, env: { ...env, PATH: `${join(cwd, "bin")}:${env.PATH}` } };
}

describe("the answer to the shell", () => {
  it("reads applied stacks from the state folder, and starts nothing", async () => {
    const { env, cwd } = home();
    const result = await cli(["complete", "--", "status", "de"], { env, cwd });
    expect(result).toEqual({ status: 0, stdout: "demo\tstack\ndetour\tstack\n:none\n", stderr: "" });
  });
});

describe.runIf(hasProgram("bash"))("bash", () => {
  let place: ReturnType<typeof home>;
  beforeEach(() => {
    place = home();
  });

  /** COMPREPLY for a line that bash has cut into words; the last word is under the cursor. */
  async function reply(...words: string[]): Promise<string[]> {
    const line = ["ublk-stack", ...words].map(quoted).join(" ");
    const script = `source <(ublk-stack completion bash); COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _ublk_stack; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = await run("bash", ["--norc", "-c", script], place);
    expect(stderr).toBe("");
    return stdout
      .split("\n")
      .filter((word) => word !== "")
      .sort();
  }

  it("completes verbs, flags, values, stacks and files", async () => {
    expect(await reply("app")).toEqual(["apply"]);
    expect(await reply("wait", "--fo")).toEqual(["--for"]);
    expect(await reply("wait", "--for", "=", "s")).toEqual(["synced"]);
    expect(await reply("status", "d")).toEqual(["demo", "detour"]);
    expect(await reply("apply", "st")).toEqual(["stack one.yaml", "stack.json", "stacks", "state"]);
    expect(await reply("delete", "de")).toEqual(["demo", "detour"]);
  });

  it("evaluates nothing of what was typed", async () => {
    expect(await reply("status", "$(touch owned)")).toEqual([]);
    expect((await run("ls", [], place)).stdout).not.toContain("owned");
  });

  it("registers itself, twice as well as once", async () => {
    const twice =
      "source <(ublk-stack completion bash); source <(ublk-stack completion bash); complete -p ublk-stack";
    expect(await run("bash", ["--norc", "-c", twice], place)).toMatchObject({
      status: 0,
      stdout: "complete -F _ublk_stack ublk-stack\n",
      stderr: "",
    });
  });
});

describe.runIf(hasProgram("zsh"))("zsh", () => {
  /** The line after Tab, in a real interactive zsh on a terminal of its own (zpty). */
  async function afterTab(typed: string): Promise<string> {
    const { env, cwd } = home();
    const script = [
      "zmodload zsh/zpty",
      "zpty shell zsh -f -i",
      `zpty -w shell "PS1= PROMPT_EOL_MARK= ; unsetopt zle_bracketed_paste 2>/dev/null; autoload -Uz compinit; compinit -u -d ${cwd}/dump; source <(ublk-stack completion zsh); print -r -- loaded:\${(U):-ok}"`,
      "zpty -r shell heard '*loaded:OK*'",
      // Ctrl-X prints what the line holds: no guessing when the completion is done.
      `zpty -w shell 'show() { print -r -- "<<$BUFFER>>" }; zle -N show; bindkey "^X" show; print -r -- bound:\${(U):-ok}'`,
      "zpty -r shell heard '*bound:OK*'",
      `zpty -w -n shell ${quoted(typed)}$'\\t'$'\\x18'`,
      "zpty -r shell heard '*<<*>>*'",
      "print -r -- $heard",
      "zpty -d shell",
    ].join("\n");
    const { stdout, stderr } = await run("zsh", ["-f", "-c", script], { env, cwd });
    expect(stderr).toBe("");
    return /<<(.*?)>>/.exec(stdout)?.[1] ?? stdout;
  }

  it("completes verbs, flags, values, stacks and files", async () => {
    expect(await afterTab("ublk-stack app")).toBe("ublk-stack apply ");
    expect(await afterTab("ublk-stack wait --fo")).toBe("ublk-stack wait --for ");
    expect(await afterTab("ublk-stack wait --for=s")).toBe("ublk-stack wait --for=synced ");
    expect(await afterTab("ublk-stack status dem")).toBe("ublk-stack status demo ");
    expect(await afterTab("ublk-stack apply stack.")).toBe("ublk-stack apply stack.json ");
  });
});

describe.runIf(hasProgram("fish"))("fish", () => {
  async function offers(line: string): Promise<string[]> {
    const { env, cwd } = home();
    const script = `ublk-stack completion fish | source; complete --do-complete ${quoted(line)}`;
    const { stdout } = await run("fish", ["--no-config", "-c", script], { env, cwd });
    return stdout
      .split("\n")
      .filter((text) => text !== "")
      .map((text) => text.split("\t")[0] ?? "")
      .sort();
  }

  it("completes verbs, flags, values, stacks and files", async () => {
    expect(await offers("ublk-stack app")).toEqual(["apply"]);
    expect(await offers("ublk-stack wait --fo")).toEqual(["--for"]);
    expect(await offers("ublk-stack wait --for=s")).toEqual(["--for=synced"]);
    expect(await offers("ublk-stack status d")).toEqual(["demo", "detour"]);
    expect(await offers("ublk-stack apply stack.j")).toEqual(["stack.json"]);
  });
});
