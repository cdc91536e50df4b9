import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cli, ESCAPE, onTerminal, ROOT, temporaryFolder, userEnv } from "./harness.js";
import { DEMO_YAML } from "./items.js";

const BAD = DEMO_YAML.replace("64KiB", "64KB").replace("[wide, d2]", "[wyde, d2]");

/** A folder with files by name, and the environment of the user whose home it is. */
function folderWith(files: Readonly<Record<string, string>>): { cwd: string; env: Record<string, string> } {
  const cwd = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(cwd, name, ".."), { recursive: true });
    writeFileSync(join(cwd, name), content);
  }
  return { cwd, env: userEnv(cwd) };
}

const named = (name: string) => DEMO_YAML.replace("name: demo", `name: ${name}`);

describe("validate", () => {
  it("accepts the examples of the project", async () => {
    const { status, stdout, stderr } = await cli(["validate", join(ROOT, "stacks")]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("stack/demo valid\n");
    expect(stdout).toContain("stack/headline valid\n");
  });

  it("says all mistakes of a file in one go, each at its place", async () => {
    const result = await cli(["validate", "bad.yaml"], folderWith({ "bad.yaml": BAD }));
    expect(result.status).toBe(2);
    expect(result.stdout).toBe("");
    expect(result.stderr).toContain('bad.yaml:10:49: error: "64KB" is not a size [bad-size]');
    expect(result.stderr).toContain("bad.yaml:11:33: error:");
    expect(result.stderr).toContain("did you mean wide?");
    expect(result.stderr).toMatch(/error: bad\.yaml: 2 errors\n$/);
  });

  it("reads standard input, by itself or among files", async () => {
    expect(await cli(["validate", "-"], { stdin: DEMO_YAML })).toEqual({
      status: 0,
      stdout: "stack/demo valid\n",
      stderr: "",
    });
    const both = await cli(["validate", "-f", "-", "other.yaml"], {
      ...folderWith({ "other.yaml": named("other") }),
      stdin: DEMO_YAML,
    });
    expect(both.stdout.split("\n").sort()).toEqual(["", "stack/demo valid", "stack/other valid"]);
    const twice = await cli(["validate", "-", "-f", "-"], { stdin: DEMO_YAML });
    expect(twice.status).toBe(2);
    expect(twice.stderr).toContain("standard input can be read only once");
    const broken = await cli(["validate", "-"], { stdin: BAD });
    expect(broken.stderr).toContain("<stdin>:10:49: error:");
  });

  it("takes several documents in one file, and JSON", async () => {
    const files = {
      "two.yaml": `${named("one")}---\n${named("two")}`,
      "three.json": JSON.stringify({
        apiVersion: "ublk-stack/v1",
        kind: "Stack",
        metadata: { name: "three" },
        spec: { layers: { a: { null: { size: "1MiB" } } }, exports: { a: { layer: "a" } } },
      }),
    };
    const { status, stdout } = await cli(
      ["validate", "two.yaml", "three.json", "-o", "name"],
      folderWith(files),
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: "stack/one\nstack/two\nstack/three\n" });
  });

  it("finds one stack in two files", async () => {
    const { status, stderr } = await cli(
      ["validate", "a.yaml", "b.yaml"],
      folderWith({ "a.yaml": DEMO_YAML, "b.yaml": DEMO_YAML }),
    );
    expect(status).toBe(2);
    expect(stderr).toContain('b.yaml:4:9: error: stack "demo" is described in a.yaml too [duplicate-stack]');
  });

  it("takes a folder for the stack files in it, not those below, by name", async () => {
    const place = folderWith({
      "s/b.yaml": named("b"),
      "s/a.yml": named("a"),
      "s/notes.txt": "no stack",
      "s/deeper/c.yaml": named("c"),
    });
    expect((await cli(["validate", "s", "-o", "name"], place)).stdout).toBe("stack/a\nstack/b\n");
    mkdirSync(join(place.cwd, "empty"));
    const empty = await cli(["validate", "empty"], place);
    expect(empty.status).toBe(2);
    expect(empty.stderr).toContain("the folder empty holds no .yaml, .yml or .json file [file-unreadable]");
  });

  it("says why a file cannot be read", async () => {
    const missing = await cli(["validate", "nowhere/stack.yaml"]);
    expect(missing.status).toBe(2);
    expect(missing.stderr).toBe(
      "error: cannot read nowhere/stack.yaml: there is no such file [file-unreadable]\n  cure: Check the path and its permissions; '-' reads standard input\n",
    );
  });

  it("gives programs the same as a value", async () => {
    const { status, stdout, stderr } = await cli(
      ["validate", "bad.yaml", "-o", "json"],
      folderWith({ "bad.yaml": BAD }),
    );
    expect({ status, stderr }).toEqual({ status: 2, stderr: "" });
    const value = JSON.parse(stdout);
    expect(value.valid).toBe(false);
    expect(value.problems).toHaveLength(2);
    expect(value.problems[0]).toMatchObject({
      code: "bad-size",
      file: "bad.yaml",
      line: 10,
      column: 49,
      severity: "error",
    });
  });

  it("colours a terminal and nothing else", async () => {
    const place = folderWith({ "bad.yaml": BAD });
    expect((await cli(["validate", "bad.yaml"], place)).stderr).not.toContain(ESCAPE);
    expect((await onTerminal(["validate", "bad.yaml"], place)).stdout).toContain(`${ESCAPE}31m`);
    const quiet = { ...place, env: { ...place.env, NO_COLOR: "1" } };
    expect((await onTerminal(["validate", "bad.yaml"], quiet)).stdout).not.toContain(ESCAPE);
    const forced = { ...place, env: { ...place.env, FORCE_COLOR: "1" } };
    expect((await cli(["validate", "bad.yaml"], forced)).stderr).toContain(`${ESCAPE}31m`);
    const both = { ...place, env: { ...place.env, FORCE_COLOR: "1", NO_COLOR: "1" } };
    expect((await cli(["validate", "bad.yaml"], both)).stderr).not.toContain(ESCAPE);
  });
});

describe("schema", () => {
  it("prints the published contract", async () => {
    const { status, stdout } = await cli(["schema"]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual(
      JSON.parse(readFileSync(join(ROOT, "schema", "stack.v1.schema.json"), "utf8")),
    );
  });
});

describe("graph", () => {
  it("draws a tree", async () => {
    const { status, stdout, stderr } = await cli(["graph", "-"], { stdin: DEMO_YAML });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatchInlineSnapshot(`
      "demo
      └─ data (auto)
         └─ safe: mirror
            ├─ wide: stripe, chunk 64KiB
            │  ├─ d0: file, 256MiB, d0.img
            │  └─ d1: file, 256MiB, d1.img
            └─ d2: memory, 512MiB
      "
    `);
  });

  it("speaks Graphviz and mermaid", async () => {
    expect((await cli(["graph", "-", "-o", "dot"], { stdin: DEMO_YAML })).stdout).toMatch(
      /^digraph "demo" \{\n[\s\S]*\n\}\n$/,
    );
    expect((await cli(["graph", "-", "-o", "mermaid"], { stdin: DEMO_YAML })).stdout).toMatch(
      /^flowchart TD\n/,
    );
  });

  it("draws a picture that stands alone", async () => {
    const { status, stdout } = await cli(["graph", "-", "-o", "svg"], { stdin: DEMO_YAML });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^<svg [\s\S]*<\/svg>\s*$/);
    expect(stdout).toContain("chunk 64KiB");
  });

  it("draws one picture at a time", async () => {
    const { status, stderr } = await cli(["graph", "-", "-o", "svg"], {
      stdin: `${DEMO_YAML}---\n${named("two")}`,
    });
    expect(status).toBe(2);
    expect(stderr).toContain("-o svg draws one stack, and there are 2");
  });

  it("refuses what does not validate", async () => {
    expect((await cli(["graph", "-"], { stdin: BAD })).status).toBe(2);
  });
});
