import { spawn } from "node:child_process";
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { CLI, cli, temporaryFolder, userEnv } from "./harness.js";

let env: Record<string, string>;
let log: string;
const TIME = Date.parse("2026-01-31T08:00:00Z");

function line(minute: number, msg: string, more: object = {}): string {
  return `${JSON.stringify({ level: 30, time: TIME + minute * 60_000, stack: "demo", msg, ...more })}\n`;
}

beforeEach(() => {
  const home = temporaryFolder();
  env = userEnv(home);
  mkdirSync(join(home, "state", "logs"), { recursive: true });
  log = join(home, "state", "logs", "demo.log");
  writeFileSync(
    log,
    line(0, "serves", { device: "@nbd", pid: 101 }) +
      line(1, "write failed", {
        level: 50,
        device: "@nbd",
        layer: "d0",
        path: "/srv/d 0.img",
        errno: "EIO",
        offset: 4096,
      }) +
      line(2, "evil \u001b[2J name", { level: 40 }),
  );
});

describe("logs", () => {
  it("prints lines for people, and lets no log drive the terminal", async () => {
    const { status, stdout, stderr } = await cli(["logs", "demo"], { env });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toBe(
      [
        "2026-01-31T08:00:00.000Z info  @nbd: serves",
        '2026-01-31T08:01:00.000Z error @nbd/d0: write failed path="/srv/d 0.img" errno=EIO offset=4096',
        "2026-01-31T08:02:00.000Z warn  evil \uFFFD[2J name",
        "",
      ].join("\n"),
    );
  });

  it("takes the last ones, and those since a time", async () => {
    expect((await cli(["logs", "demo", "--tail", "1"], { env })).stdout).toMatch(/^2026-01-31T08:02/);
    expect((await cli(["logs", "demo", "--tail", "0"], { env })).stdout).toBe("");
    const since = await cli(["logs", "demo", "--since", "2026-01-31T08:01:00Z", "-o", "json"], { env });
    expect(
      since.stdout
        .trim()
        .split("\n")
        .map((text) => JSON.parse(text).msg),
    ).toEqual(["write failed", "evil \u001b[2J name"]);
    const minutes = Math.ceil((Date.now() - TIME) / 60_000) + 1;
    expect((await cli(["logs", "demo", "--since", `${minutes}m`], { env })).stdout.split("\n")).toHaveLength(
      4,
    );
    expect((await cli(["logs", "demo", "--since", "1s"], { env })).stdout).toBe("");
  });

  it("fails for a stack that nobody spoke of", async () => {
    const { status, stderr } = await cli(["logs", "other"], { env });
    expect(status).toBe(1);
    expect(stderr).toContain("[stack-unknown]");
  });

  it("follows, until its reader goes away", async () => {
    const child = spawn(process.execPath, [CLI, "logs", "demo", "-f", "--tail", "1"], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<number | null>((onEnd) => child.on("exit", onEnd));
    child.stdout.once("data", () => {
      child.stdout.destroy();
      appendFileSync(log, line(3, "nobody reads this"));
    });
    expect(await ended).toBe(0);
  });

  it("follows what is added, until Ctrl-C", async () => {
    const child = spawn(process.execPath, [CLI, "logs", "demo", "-f", "--tail", "1"], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let heard = "";
    const ended = new Promise<number | null>((onEnd) => child.on("exit", onEnd));
    for await (const text of child.stdout.setEncoding("utf8")) {
      heard += text;
      if (heard.includes("and more")) child.kill("SIGINT");
      else if (heard.includes("evil")) appendFileSync(log, line(3, "and more"));
    }
    expect(await ended).toBe(130);
    expect(heard.split("\n")).toEqual([
      expect.stringContaining("evil"),
      "2026-01-31T08:03:00.000Z info  and more",
      "",
    ]);
  });
});
