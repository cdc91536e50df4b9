import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { hasProgram, type Result, ROOT, run, temporaryFolder, userEnv } from "./harness.js";

const SCRIPT = join(ROOT, "deploy", "install-system.sh");
const BUILT = existsSync(join(ROOT, "dist", "cli.js"));

describe.runIf(BUILT)("install-system", () => {
  let stage: string;
  let env: Record<string, string>;
  const install = (...args: string[]): Promise<Result> => run("bash", [SCRIPT, ...args], { env });

  beforeEach(() => {
    stage = temporaryFolder();
    env = userEnv("/home/user", { DESTDIR: stage });
  });

  /** Regular files below the stage, without the prefix that differs between root and others. */
  function staged(): string[] {
    return readdirSync(stage, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(stage, name)).isFile())
      .sort();
  }

  it("stages command, units and completions, twice as well as once", async () => {
    expect(await install()).toMatchObject({ status: 0, stderr: "" });
    const once = staged();
    expect(await install()).toMatchObject({ status: 0, stderr: "" });
    expect(staged()).toEqual(once);
    for (const end of [
      "/bin/ublk-stack",
      "/bash-completion/completions/ublk-stack",
      "/zsh/site-functions/_ublk-stack",
      "/fish/vendor_completions.d/ublk-stack.fish",
      "/ublk-stack-controller.service",
      "/ublk-stack-ready.service",
      "/ublk-stack.target",
      "/ublk-stack@.service",
    ]) {
      expect(
        once.filter((name) => `/${name}`.endsWith(end)),
        end,
      ).toHaveLength(1);
    }
  });

  it("the command works without a PATH", async () => {
    await install();
    const command = staged().find((name) => name.endsWith("bin/ublk-stack")) ?? "";
    const { status, stdout } = await run(join(stage, command), ["--version"], {
      env: { PATH: "/nonexistent" },
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });

  it("takes everything away again", async () => {
    await install();
    expect(await install("--uninstall")).toMatchObject({ status: 0, stderr: "" });
    expect(staged()).toEqual([]);
  });

  it("knows its options", async () => {
    expect(await install("--frob")).toMatchObject({
      status: 2,
      stderr: "usage: install-system.sh [--uninstall]\n",
    });
  });

  it.runIf(hasProgram("systemd-analyze"))("writes units that systemd takes without a word", async () => {
    await install();
    const units = staged()
      .filter((name) => /\.(service|target)$/.test(name))
      .map((name) => join(stage, name));
    expect(units).toHaveLength(4);
    for (const unit of units) expect(readFileSync(unit, "utf8")).not.toContain("@COMMAND@");
    // A template is checked as one of its instances.
    const named = units.map((unit) => unit.replace("@.service", "@demo.service"));
    const { status, stdout, stderr } = await run(
      "systemd-analyze",
      ["verify", "--recursive-errors=one", "--man=no", ...named],
      { env: userEnv(temporaryFolder()) },
    );
    const own = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("ublk-stack"));
    expect({ status, own }).toEqual({ status: 0, own: [] });
  });
});
