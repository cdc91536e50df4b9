/** New settings for layers of servers that go on running, over the HTTP API. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StackError } from "../../src/errors.js";
import { deviceRunDir } from "../../src/reconcile/paths.js";
import { finish, Sandbox, stack } from "./sandbox.js";

const error = (base: string, seed: number) => ({ error: { base, probability: 0.5, seed } });
const sick = (seed: number, above?: number) =>
  stack(
    "s",
    {
      a: { file: { path: "a.img", size: "1MiB" } },
      sick: error("a", seed),
      ...(above === undefined ? {} : { top: error("sick", above) }),
    },
    [above === undefined ? "sick" : "top"],
  );

async function applied() {
  const sandbox = new Sandbox();
  const client = await sandbox.controller();
  const apply = (seed: number) => finish(client.apply({ document: sick(seed), baseDir: sandbox.data }));
  await apply(1);
  const runDir = deviceRunDir(sandbox.paths, "s", "@nbd");
  const told = () =>
    existsSync(join(runDir, "set"))
      ? readFileSync(join(runDir, "set"), "utf8")
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line))
      : [];
  const configured = () =>
    JSON.parse(readFileSync(join(runDir, "config.json"), "utf8")).table.layers[0].params.seed;
  return { sandbox, client, apply, told, configured };
}

describe("new settings", () => {
  it("reach the server that runs, and the configuration that its next worker reads", async () => {
    const { sandbox, client, apply, told, configured } = await applied();
    const pids = await sandbox.pids("s");
    const { done, events } = await apply(2);
    expect(done.result).toBe("configured");
    expect(events.flatMap((event) => (event.event === "progress" ? [event.phase] : []))).toEqual([
      "adjusting",
      "ready",
    ]);
    expect(await sandbox.pids("s")).toEqual(pids);
    expect(told()).toEqual([
      { layer: "sick", params: expect.objectContaining({ seed: 2, probability: 0.5 }) },
    ]);
    expect(configured()).toBe(2);
    expect((await client.describe("s")).document).toEqual(sick(2));
    expect((await apply(2)).done.result).toBe("unchanged");
  });

  it("that a server refuses leave the stack with the old ones, and say why", async () => {
    const { sandbox, apply, told, configured } = await applied();
    const pids = await sandbox.pids("s");
    const failure = await apply(666).then(
      () => null,
      (error: StackError) => error,
    );
    expect(failure?.code).toBe("not-set");
    expect(failure?.message).toContain('layer "sick" does not take its new settings: a test says so');
    expect(configured()).toBe(1);
    expect(told()).toEqual([]);
    expect(await sandbox.pids("s")).toEqual(pids);
    expect((await apply(1)).done.result).toBe("unchanged");
  });

  it("that one layer refuses are taken from the others again", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const apply = (seed: number, above: number) =>
      finish(client.apply({ document: sick(seed, above), baseDir: sandbox.data }));
    await apply(1, 1);
    await expect(apply(666, 2)).rejects.toMatchObject({ code: "not-set" });
    const told = readFileSync(join(deviceRunDir(sandbox.paths, "s", "@nbd"), "set"), "utf8");
    const seeds = told
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).params.seed);
    expect(seeds).toEqual([2, 1]);
    expect((await apply(1, 1)).done.result).toBe("unchanged");
  });
});
