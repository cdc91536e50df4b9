/** Stacks from apply to delete, over the HTTP API, with servers that are processes and a data plane that is not there. */

import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StackError } from "../../src/errors.js";
import { finish, list, Sandbox, stack } from "./sandbox.js";

const MIB = 2 ** 20;
const file = (path: string, size: number | string | undefined = "1MiB") => ({
  file: { path, ...(size === undefined ? {} : { size }) },
});

const demo = () =>
  stack("demo", { a: file("a.img"), b: file("b.img"), wide: { stripe: { members: ["a", "b"] } } }, ["wide"]);

async function failure(work: Promise<unknown>): Promise<StackError> {
  try {
    await work;
  } catch (error) {
    return error as StackError;
  }
  throw new Error("it did not fail");
}

describe("apply", () => {
  it("makes files, starts the server and says where the export is", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const { done, events } = await finish(client.apply({ document: demo(), baseDir: sandbox.data }));

    expect(done.result).toBe("created");
    expect(done.item?.status).toMatchObject({
      phase: "Ready",
      exports: {
        wide: {
          phase: "Ready",
          sizeBytes: 2 * MIB,
          uri: expect.stringMatching(/^nbd\+unix:\/\/\/wide\?socket=\//),
        },
      },
      conditions: [],
      createdFiles: [join(sandbox.data, "b.img"), join(sandbox.data, "a.img")].sort(),
    });
    expect(statSync(join(sandbox.data, "a.img")).size).toBe(MIB);
    const phases = events.flatMap((event) => (event.event === "progress" ? [event.phase] : []));
    expect(phases).toEqual(["creating", "creating", "starting", "waiting", "waiting", "ready"]);
  });

  it("makes the file of an image empty: it grows", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const document = stack(
      "grows",
      { disk: { qcow2: { base: { file: { path: "d.qcow2" } }, size: "1GiB" } } },
      ["disk"],
    );
    const { done, events } = await finish(client.apply({ document, baseDir: sandbox.data }));
    expect(done.item?.status).toMatchObject({
      phase: "Ready",
      createdFiles: [join(sandbox.data, "d.qcow2")],
    });
    expect(statSync(join(sandbox.data, "d.qcow2")).size).toBe(0);
    const said = events.flatMap((event) => (event.event === "progress" ? [event.message] : []));
    expect(said[0]).toBe(`making ${join(sandbox.data, "d.qcow2")}, 0 bytes`);
  });

  it("does nothing at all when nothing has changed", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    const pids = await sandbox.pids("demo");
    const written = statSync(join(sandbox.paths.stateDir, "stacks/demo/stack.json")).mtimeMs;

    const { done, events } = await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    expect(done.result).toBe("unchanged");
    expect(events.map((event) => event.event)).toEqual(["plan", "done"]);
    expect(await sandbox.pids("demo")).toEqual(pids);
    expect(statSync(join(sandbox.paths.stateDir, "stacks/demo/stack.json")).mtimeMs).toBe(written);
  });

  it("plans without doing when asked to", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const { done } = await finish(client.apply({ document: demo(), baseDir: sandbox.data, dryRun: true }));
    expect(done).toMatchObject({ result: "planned", item: null });
    const { plan } = await client.diff({ document: demo(), baseDir: sandbox.data });
    expect(plan.actions.map((action) => action.kind)).toEqual(["create-file", "create-file", "start"]);
    expect(list(sandbox.data)).toEqual([]);
    expect((await client.list()).items).toEqual([]);
  });

  it("leaves nothing behind of a stack that is refused", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const document = stack(
      "bad",
      { a: file("a.img"), b: file("none/b.img"), m: { mirror: { members: ["a", "b"] } } },
      ["m"],
    );
    const error = await failure(finish(client.apply({ document, baseDir: sandbox.data })));
    expect(error.code).toBe("path-missing");
    expect(error.details.findings).toMatchObject([{ path: ["spec", "layers", "b", "file", "path"] }]);
    expect(list(sandbox.data)).toEqual([]);
    expect(list(join(sandbox.paths.stateDir, "stacks"))).toEqual([]);
    expect(list(join(sandbox.paths.runDir, "stacks"))).toEqual([]);
  });

  it("takes back what it made when the server does not start, and says why in the server's words", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const document = stack("bad", { a: file("a.fail-start.img") }, ["a"]);
    const error = await failure(finish(client.apply({ document, baseDir: sandbox.data })));
    expect(error.code).toBe("io-error");
    expect(error.message).toContain('layer "a" of device "@nbd": cannot open');
    expect(list(sandbox.data)).toEqual([]);
    expect(list(join(sandbox.paths.stateDir, "stacks"))).toEqual([]);
    expect(list(join(sandbox.paths.runDir, "stacks"))).toEqual([]);
    expect((await client.list()).items).toEqual([]);
  });

  it("says why the engine that the file asks for cannot serve", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const document = stack("bad", { a: file("a.no-engine.img") }, ["a"]);
    const error = await failure(finish(client.apply({ document, baseDir: sandbox.data })));
    expect(error.code).toBe("engine-refused");
    expect(error.message).toBe('device "@nbd": engine uring-bpf cannot serve: a test says so');
    expect(error.cure).toContain("ublk-stack doctor");
    expect((await client.list()).items).toEqual([]);
  });

  it("keeps a file that was there before, whatever fails", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    writeFileSync(join(sandbox.data, "a.fail-start.img"), Buffer.alloc(MIB, 7));
    const document = stack("bad", { a: file("a.fail-start.img"), b: file("b.img") }, ["a", "b"]);
    await failure(finish(client.apply({ document, baseDir: sandbox.data })));
    expect(list(sandbox.data)).toEqual(["a.fail-start.img"]);
    expect(readFileSync(join(sandbox.data, "a.fail-start.img")).every((byte) => byte === 7)).toBe(true);
  });

  it("goes back to what ran before when a change fails", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const before = stack("s", { a: file("a.img"), m: { mirror: { members: ["a"] } } }, ["m"]);
    await finish(client.apply({ document: before, baseDir: sandbox.data }));
    const after = stack(
      "s",
      { a: file("a.img"), b: file("b.fail-start.img"), m: { mirror: { members: ["a", "b"] } } },
      ["m"],
    );
    const error = await failure(finish(client.apply({ document: after, baseDir: sandbox.data })));
    expect(error.message).toContain('layer "b"');
    expect((await client.get("s")).status).toMatchObject({
      phase: "Ready",
      layers: [{ name: "m" }, { name: "a" }],
    });
    expect(list(sandbox.data)).toEqual(["a.img"]);
    const { done } = await finish(client.apply({ document: before, baseDir: sandbox.data }));
    expect(done.result).toBe("unchanged");
  });

  it("serialises two at once", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const both = await Promise.all([
      finish(client.apply({ document: demo(), baseDir: sandbox.data })),
      finish(client.apply({ document: demo(), baseDir: sandbox.data })),
    ]);
    expect(both.map(({ done }) => done.result).sort()).toEqual(["created", "unchanged"]);
    expect(readFileSync(join(sandbox.runDir("demo"), "starts"), "utf8")).toBe("x");
  });

  it("gives a path to one of two stacks that are applied at once", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const one = (name: string) =>
      finish(client.apply({ document: stack(name, { a: file("a.img") }, ["a"]), baseDir: sandbox.data }));
    const results = await Promise.allSettled([one("s1"), one("s2")]);
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const error = results.find((result) => result.status === "rejected")?.reason as StackError;
    expect(error.message).toMatch(/"a.img" is used by layer "a" of stack "s[12]"/);
  });

  it("refuses a change that makes data unreadable unless that is said", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    const turned = stack(
      "demo",
      { a: file("a.img"), b: file("b.img"), wide: { stripe: { members: ["b", "a"] } } },
      ["wide"],
    );
    const error = await failure(finish(client.apply({ document: turned, baseDir: sandbox.data })));
    expect(error.code).toBe("data-loss");
    const { done } = await finish(
      client.apply({ document: turned, baseDir: sandbox.data, allowDataLoss: true }),
    );
    expect(done.result).toBe("configured");
  });

  it("takes dropped members back when asked to", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const document = stack(
      "s",
      { a: file("a.img"), b: file("b.img"), m: { mirror: { members: ["a", "b"] } } },
      ["m"],
    );
    await finish(client.apply({ document, baseDir: sandbox.data }));
    writeFileSync(join(sandbox.runDir("s"), "dropped"), "b");
    expect((await client.get("s")).status.conditions).toMatchObject([{ type: "Degraded", layer: "m" }]);
    const { done } = await finish(client.apply({ document, baseDir: sandbox.data, readd: true }));
    expect(done).toMatchObject({ result: "configured", item: { status: { conditions: [] } } });
  });
});

describe("delete", () => {
  it("leaves the data files and nothing else", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    const { supervisor, server } = await sandbox.pids("demo");
    const { done } = await finish(client.delete("demo"));
    expect(done).toEqual({ event: "done", result: "deleted", item: null });
    expect(list(sandbox.data)).toEqual(["a.img", "b.img"]);
    expect(list(join(sandbox.paths.stateDir, "stacks"))).toEqual([]);
    expect(list(join(sandbox.paths.runDir, "stacks"))).toEqual([]);
    // An ended process stays until its parent has looked at it, which is not ours to wait for step by step.
    for (const pid of [supervisor, server]) await expect.poll(() => existsSync(`/proc/${pid}`)).toBe(false);
    expect((await failure(client.get("demo"))).code).toBe("stack-unknown");
  });

  it("refuses while clients are connected, unless forced", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    writeFileSync(join(sandbox.runDir("demo"), "clients"), "");
    const error = await failure(finish(client.delete("demo")));
    expect(error.code).toBe("device-in-use");
    expect(error.message).toContain('(export "wide" has 1 client)');
    expect((await client.get("demo")).status.phase).toBe("Ready");
    await finish(client.delete("demo", { force: true }));
    expect((await client.list()).items).toEqual([]);
  });
});

describe("servers and controllers that die", () => {
  it("notices a new worker and goes on", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    const before = await sandbox.pids("demo");
    await sandbox.kill(before.server, "demo");
    await client.wait("demo", "ready", 20_000);
    const after = await sandbox.pids("demo");
    expect(after.supervisor).toBe(before.supervisor);
    expect(after.server).not.toBe(before.server);
  });

  it("replaces both when both are dead", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    await finish(client.apply({ document: demo(), baseDir: sandbox.data }));
    const before = await sandbox.pids("demo");
    await sandbox.kill(before.supervisor, "demo");
    await sandbox.kill(before.server, "demo");
    const item = await client.wait("demo", "ready", 20_000);
    expect(item.status.devices).toMatchObject([{ phase: "Ready" }]);
    expect(item.status.devices[0]?.restarts).toBeGreaterThan(0);
  });

  it("finds the servers again after the controller has gone", async () => {
    const sandbox = new Sandbox();
    const first = await sandbox.controller();
    await finish(first.apply({ document: demo(), baseDir: sandbox.data }));
    const pids = await sandbox.pids("demo");
    await sandbox.dropController();
    const second = await sandbox.controller();
    await second.wait("demo", "ready", 20_000);
    expect(await sandbox.pids("demo")).toEqual(pids);
    const { done } = await finish(second.apply({ document: demo(), baseDir: sandbox.data }));
    expect(done.result).toBe("unchanged");
  });

  it("brings everything back after a reboot, and makes no data file anew", async () => {
    const sandbox = new Sandbox();
    const first = await sandbox.controller();
    const document = stack(
      "s",
      { a: file("a.img"), t: { memory: { size: "1MiB" } }, m: { mirror: { members: ["a", "t"] } } },
      ["m"],
    );
    await finish(first.apply({ document, baseDir: sandbox.data }));
    await sandbox.dropController();
    await sandbox.powerCut();
    const second = await sandbox.controller();
    const item = await second.wait("s", "ready", 20_000);
    expect(item.status.createdFiles).toEqual([join(sandbox.data, "a.img")]);
  });

  it("does not take a missing data file for an empty one", async () => {
    const sandbox = new Sandbox();
    const first = await sandbox.controller();
    await finish(first.apply({ document: demo(), baseDir: sandbox.data }));
    await sandbox.dropController();
    await sandbox.powerCut();
    sandbox.removeData("b.img");
    const second = await sandbox.controller();
    const error = await failure(second.wait("demo", "ready", 500));
    expect(error.message).toContain("b.img is gone");
    expect(list(sandbox.data)).toEqual(["a.img"]);
    expect((await second.get("demo")).status.phase).toBe("Failed");
  });

  it("ends with its last stack", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller({ stay: false, lingerMs: 0 });
    await sandbox.running?.ended;
    expect(await client.versionIfRunning()).toBeNull();
  });
});
