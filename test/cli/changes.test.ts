import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Action, Plan } from "../../src/plan/plan.js";
import type { ChangeEvent, ErrorBody } from "../../src/reconcile/api.js";
import type { Finding } from "../../src/spec/index.js";
import { type Asked, type FakeController, type Script, startFakeController } from "./fake-controller.js";
import { CLI, cli, ESCAPE, onTerminal, shell, temporaryFolder, userEnv } from "./harness.js";
import { DEGRADED, DEMO_YAML, demoTable, HEALTHY } from "./items.js";

let home: string;
let env: Record<string, string>;
let controller: FakeController | undefined;

beforeEach(() => {
  home = temporaryFolder();
  env = userEnv(home);
  writeFileSync(join(home, "demo.yaml"), DEMO_YAML);
  writeFileSync(join(home, "other.yaml"), DEMO_YAML.replace("name: demo", "name: other"));
});
afterEach(async () => {
  await controller?.close();
  controller = undefined;
});

async function given(script: Script): Promise<void> {
  controller = await startFakeController(env, script);
}
const here = () => ({ env, cwd: home });
const asked = (method: string, url: RegExp): Asked[] =>
  (controller?.asked ?? []).filter((one) => one.method === method && url.test(one.url));

const action = (
  kind: Action["kind"],
  device: string | null,
  reason: string,
  layer: string | null = null,
): Action => ({
  kind,
  device,
  layer,
  impact: kind === "none" ? "none" : "online",
  reason,
  changes: [],
});
const PLAN: Plan = {
  actions: [action("create-file", null, "is missing", "d0"), action("start", "@nbd", "is not there yet")],
  blocked: [],
};
const NOTHING: Plan = { actions: [action("none", "@nbd", "runs as it should")], blocked: [] };
const WARNING: Finding = {
  path: ["spec", "layers", "wide", "stripe", "members", 1],
  at: "value",
  code: "unequal-members",
  severity: "warning",
  message: 'member "d1" wastes 4096 bytes',
};
const ERROR: Finding = {
  ...WARNING,
  code: "path-missing",
  severity: "error",
  message: "there is no folder /nowhere",
};

const progress = (
  device: string | null,
  phase: "starting" | "ready" | "failed",
  message: string,
  layer: string | null = null,
): ChangeEvent => ({
  event: "progress",
  device,
  layer,
  phase,
  message,
});
const CREATED: ChangeEvent[] = [
  { event: "plan", plan: PLAN, table: demoTable(false) },
  progress("@nbd", "starting", "opening d0.img", "d0"),
  progress("@nbd", "ready", "serves"),
  { event: "done", result: "created", item: HEALTHY },
];
const failing = (code: ErrorBody["code"], message: string, findings: Finding[] = [], details = {}) => ({
  error: { code, message, details, findings },
});

describe("apply", () => {
  it("hands over the document as written, and says where the exports are", async () => {
    await given({ change: () => CREATED });
    const result = await cli(["apply", "demo.yaml"], here());
    expect(result).toEqual({
      status: 0,
      stdout: "stack/demo created\n  data  nbd+unix:///data?socket=/run/ublk-stack/stacks/demo/nbd.sock\n",
      stderr: "",
    });
    const [request] = asked("POST", /apply/);
    expect(request?.body).toMatchObject({
      baseDir: home,
      dryRun: false,
      force: false,
      allowDataLoss: false,
      readd: false,
      wait: true,
      timeoutMs: 120_000,
    });
    expect(request?.body?.document).toMatchObject({
      metadata: { name: "demo" },
      spec: { layers: { d0: { file: { size: "256MiB" } } } },
    });
  });

  it("passes its flags on", async () => {
    await given({ change: () => CREATED });
    await cli(
      ["apply", "-f", "demo.yaml", "--force", "--allow-data-loss", "--readd", "--timeout=90s"],
      here(),
    );
    expect(asked("POST", /apply/)[0]?.body).toMatchObject({
      force: true,
      allowDataLoss: true,
      readd: true,
      timeoutMs: 90_000,
    });
  });

  it("says configured, unchanged, and accepted", async () => {
    for (const [result, words] of [
      ["configured", "stack/demo configured"],
      ["unchanged", "stack/demo unchanged"],
      ["accepted", "stack/demo accepted; follow it with: ublk-stack wait demo"],
    ] as const) {
      await given({ change: () => [{ event: "done", result, item: HEALTHY }] });
      const { stdout } = await cli(
        ["apply", "demo.yaml", ...(result === "accepted" ? ["--no-wait"] : [])],
        here(),
      );
      expect(stdout.split("\n")[0]).toBe(words);
      await controller?.close();
    }
  });

  it("prints block device and stable name of a ublk export", async () => {
    await given({ change: () => [{ event: "done", result: "created", item: DEGRADED }] });
    expect((await cli(["apply", "demo.yaml"], here())).stdout).toContain(
      "  data  /dev/ublk-stack/broken/data  (/dev/ublkb3)\n",
    );
  });

  it("reads standard input: paths are relative to the current folder", async () => {
    await given({ change: () => CREATED });
    const { status } = await cli(["apply", "-f", "-"], { ...here(), stdin: DEMO_YAML });
    expect(status).toBe(0);
    expect(asked("POST", /apply/)[0]?.body?.baseDir).toBe(home);
  });

  it("prints names or values for programs", async () => {
    await given({ change: () => CREATED });
    expect((await cli(["apply", "demo.yaml", "-o", "name"], here())).stdout).toBe("stack/demo\n");
    const value = JSON.parse((await cli(["apply", "demo.yaml", "-o", "json"], here())).stdout);
    expect(value.items).toEqual([HEALTHY]);
  });

  it("refuses a bad file before it talks to anybody, and starts no controller", async () => {
    const result = await cli(["apply", "-"], { ...here(), stdin: DEMO_YAML.replace("64KiB", "63KiB") });
    expect(result.status).toBe(2);
    expect(result.stderr).toContain("<stdin>:10:49: error:");
    expect(result.stderr).toMatch(/error: <stdin>: 1 error; nothing was changed\n$/);
    expect(existsSync(join(home, "run"))).toBe(false);
    expect(existsSync(join(home, "state"))).toBe(false);
  });

  it("shows at its place what only a look at the host can find", async () => {
    await given({
      change: () => failing("path-missing", 'stack "demo": there is no folder /nowhere', [WARNING, ERROR]),
    });
    const { status, stdout, stderr } = await cli(["apply", "demo.yaml"], here());
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("demo.yaml:10:37: error: there is no folder /nowhere [path-missing]");
    expect(stderr).toContain("demo.yaml:10:37: warning:");
    expect(stderr).toMatch(/error: stack\/demo is refused; nothing was changed\n$/);
  });

  it("shows warnings and goes on", async () => {
    await given({ change: () => [{ event: "finding", finding: WARNING }, ...CREATED] });
    const { status, stdout, stderr } = await cli(["apply", "demo.yaml"], here());
    expect(status).toBe(0);
    expect(stdout).toContain("stack/demo created");
    expect(stderr).toContain('demo.yaml:10:37: warning: member "d1" wastes 4096 bytes [unequal-members]');
  });

  it("shows the plan that is blocked, and by what", async () => {
    const plan: Plan = {
      actions: [action("recreate", "@nbd", "another chunk")],
      blocked: [
        {
          code: "data-loss",
          subject: "data",
          message: 'export "data" would lose its data',
          unless: "allowDataLoss",
        },
      ],
    };
    await given({ change: () => failing("data-loss", 'export "data" would lose its data', [], { plan }) });
    const { status, stderr } = await cli(["apply", "demo.yaml"], here());
    expect(status).toBe(1);
    expect(stderr).toContain("Blocked:");
    expect(stderr).toContain("--allow-data-loss lets it happen");
    expect(stderr).toContain("[data-loss]");
  });

  it("prints the plan and changes nothing on --dry-run", async () => {
    await given({
      change: () => [
        { event: "plan", plan: PLAN, table: demoTable(false) },
        { event: "done", result: "planned", item: null },
      ],
    });
    const { status, stdout } = await cli(["apply", "--dry-run", "demo.yaml"], here());
    expect(status).toBe(0);
    expect(stdout).toMatchInlineSnapshot(`
      "stack demo
        + create "d0.img" for layer "d0": is missing
        + start NBD server (data): is not there yet

      Plan: 1 to create, 1 to start.
      "
    `);
    expect(asked("POST", /apply/)[0]?.body?.dryRun).toBe(true);
    const value = JSON.parse((await cli(["apply", "--dry-run", "demo.yaml", "-o", "json"], here())).stdout);
    expect(value.plans[0]).toMatchObject({ stack: "demo", result: "planned", plan: PLAN });
  });

  it("touches none of several stacks when the host refuses one", async () => {
    await given({
      diff: ({ body }) =>
        JSON.stringify(body).includes('"other"')
          ? failing("path-missing", "no", [ERROR])
          : { plan: PLAN, table: demoTable(false), findings: [] },
      change: () => CREATED,
    });
    const { status, stdout, stderr } = await cli(["apply", "demo.yaml", "other.yaml"], here());
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain("other.yaml:10:37: error:");
    expect(asked("POST", /apply/)).toEqual([]);
  });

  it("goes on with the others when one fails", async () => {
    await given({
      diff: () => ({ plan: PLAN, table: demoTable(false), findings: [] }),
      change: ({ body }) =>
        JSON.stringify(body).includes('"other"') ? CREATED : failing("server-start", "d0.img is locked"),
    });
    const { status, stdout, stderr } = await cli(["apply", "demo.yaml", "other.yaml"], here());
    expect(status).toBe(1);
    expect(stdout).toContain("stack/other created");
    expect(stderr).toContain("error: d0.img is locked [server-start]");
  });

  it("fails when the controller breaks off", async () => {
    await given({ change: () => [{ event: "plan", plan: PLAN, table: demoTable(false) }] });
    const { status, stderr } = await cli(["apply", "demo.yaml"], here());
    expect(status).toBe(1);
    expect(stderr).toContain("[controller-unreachable]");
  });

  it("finishes its work when nobody reads the result", async () => {
    await given({ change: () => CREATED });
    const { stdout } = await shell("ublk-stack apply demo.yaml | true; echo $PIPESTATUS", here());
    expect(stdout).toBe("0\n");
  });

  it("leaves the change to the controller on Ctrl-C, and says so", async () => {
    let interrupt = (): void => {};
    await given({ change: () => [{ event: "plan", plan: PLAN, table: null }], hold: () => interrupt() });
    const child = spawn(process.execPath, [CLI, "apply", "demo.yaml"], {
      ...here(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    interrupt = () => child.kill("SIGINT");
    const ended = new Promise<number | null>((onEnd) => child.on("exit", onEnd));
    expect(await text(child.stderr)).toBe(
      "interrupted; the controller goes on with stack/demo: ublk-stack status demo\n",
    );
    expect(await ended).toBe(130);
  });

  it("draws its progress on a terminal, and leaves the result", async () => {
    await given({ change: () => CREATED });
    const { status, stdout } = await onTerminal(["apply", "demo.yaml"], here());
    expect(status).toBe(0);
    expect(stdout).toContain("NBD server: starting");
    expect(stdout).toContain(`stack/demo ${ESCAPE}32mcreated`);
  });

  it("leaves the failure of a device on the screen", async () => {
    const events: ChangeEvent[] = [
      { event: "plan", plan: PLAN, table: demoTable(false) },
      progress("@nbd", "failed", "d0.img is locked"),
      { event: "error", ...failing("server-start", "d0.img is locked") },
    ];
    await given({ change: () => events });
    const { status, stdout } = await onTerminal(["apply", "demo.yaml"], here());
    expect(status).toBe(1);
    expect(stdout).toContain("server-start");
  });
});

describe("diff", () => {
  it("exits 0 without and 1 with differences, 2 when it cannot tell", async () => {
    await given({ diff: () => ({ plan: NOTHING, table: demoTable(false), findings: [] }) });
    expect(await cli(["diff", "demo.yaml"], here())).toMatchObject({ status: 0, stderr: "" });
    await controller?.close();

    await given({ diff: () => ({ plan: PLAN, table: demoTable(false), findings: [WARNING] }) });
    const changed = await cli(["diff", "demo.yaml"], here());
    expect(changed.status).toBe(1);
    expect(changed.stdout).toContain("Plan: ");
    expect(changed.stderr).toContain("warning:");
    expect(JSON.parse((await cli(["diff", "demo.yaml", "-o", "json"], here())).stdout)).toMatchObject({
      changes: true,
      plans: [{ stack: "demo", changes: true, actions: PLAN.actions, blocked: [] }],
    });
    await controller?.close();

    await given({ diff: () => failing("path-missing", "no", [ERROR]) });
    expect((await cli(["diff", "demo.yaml"], here())).status).toBe(2);
    await controller?.close();

    await given({ diff: () => failing("internal", "a bug") });
    expect((await cli(["diff", "demo.yaml"], here())).status).toBe(2);
    expect((await cli(["diff", "nowhere.yaml"], here())).status).toBe(2);
  });
});

describe("delete", () => {
  const DELETED: ChangeEvent[] = [
    {
      event: "plan",
      plan: { actions: [action("stop", "@nbd", "is not wanted any more")], blocked: [] },
      table: null,
    },
    { event: "done", result: "deleted", item: null },
  ];

  it("takes names, files and all", async () => {
    await given({ items: [HEALTHY, DEGRADED], change: () => DELETED });
    expect(await cli(["delete", "demo"], here())).toEqual({
      status: 0,
      stdout: "stack/demo deleted\n",
      stderr: "",
    });
    expect((await cli(["delete", "-f", "demo.yaml", "broken"], here())).stdout).toBe(
      "stack/demo deleted\nstack/broken deleted\n",
    );
    expect((await cli(["delete", "--all", "-o", "name"], here())).stdout).toBe("stack/demo\nstack/broken\n");
    expect(asked("DELETE", /demo\?force=false&timeoutMs=120000$/).length).toBeGreaterThan(0);
  });

  it("passes --force on, and needs no waiting for the end", async () => {
    await given({ change: () => DELETED });
    const { stdout } = await cli(["delete", "demo", "--force", "--no-wait"], here());
    expect(stdout).toBe("stack/demo deletion begun\n");
    expect(asked("DELETE", /force=true/)).toHaveLength(1);
  });

  it("fails for a stack that is not there, unless that is fine", async () => {
    await given({ change: () => failing("stack-unknown", 'there is no stack "gone"') });
    const { status, stderr } = await cli(["delete", "gone"], here());
    expect(status).toBe(1);
    expect(stderr).toContain('error: there is no stack "gone" [stack-unknown]');
    expect(await cli(["delete", "gone", "--ignore-not-found"], here())).toEqual({
      status: 0,
      stdout: "",
      stderr: "",
    });
  });

  it("has nothing to do where there is nothing", async () => {
    expect(await cli(["delete", "--all"], here())).toEqual({ status: 0, stdout: "", stderr: "No stacks.\n" });
  });
});
