/** The client and controllers that come and go; the store and the lock that they share. */

import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ControllerClient, openController } from "../../src/reconcile/client.js";
import { takeLock } from "../../src/reconcile/lock.js";
import { controllerSocket, ensurePrivateFolder, stackFile } from "../../src/reconcile/paths.js";
import { finish, list, Sandbox, stack } from "./sandbox.js";

const document = stack("s", { a: { file: { path: "a.img", size: "1MiB" } } }, ["a"]);

describe("a client", () => {
  it("starts a controller when the one that it found has ended", async () => {
    const sandbox = new Sandbox();
    await sandbox.controller({ stay: false, lingerMs: 0 });
    await sandbox.running?.ended;
    let starts = 0;
    const client = new ControllerClient(controllerSocket(sandbox.paths), async () => {
      starts += 1;
      await sandbox.controller();
    });
    const { done } = await finish(client.apply({ document, baseDir: sandbox.data }));
    expect(done.result).toBe("created");
    expect(starts).toBe(1);
  });

  it("does not take a controller that is about to end for one that fails", async () => {
    const sandbox = new Sandbox();
    ensurePrivateFolder(sandbox.paths.runDir);
    const ending = createServer((_, response) => {
      response.writeHead(503, { connection: "close" });
      response.end(
        JSON.stringify({ error: { code: "controller-busy", message: "ending", details: {}, findings: [] } }),
      );
    });
    await new Promise<void>((resolve) => ending.listen(controllerSocket(sandbox.paths), resolve));
    const client = new ControllerClient(controllerSocket(sandbox.paths), async () => {
      await new Promise((resolve) => ending.close(resolve));
      await sandbox.controller();
    });
    expect((await client.list()).items).toEqual([]);
  });

  it("says that there is none, without starting one, when there is nothing to look after", async () => {
    const sandbox = new Sandbox();
    const command = ["/no/such/program"];
    expect(await openController({ start: "ifStacks", paths: sandbox.paths, command })).toBeNull();
    expect(await openController({ start: "never", paths: sandbox.paths, command })).toBeNull();
    expect(list(sandbox.root)).toEqual(["data"]);
  });

  it("repeats the last words of a controller that does not start", async () => {
    const sandbox = new Sandbox();
    const words = (script: string) =>
      openController({
        start: "always",
        paths: sandbox.paths,
        command: [process.execPath, "-e", script],
      }).then(
        () => "it started",
        (error: Error) => error.message,
      );
    expect(await words('fs.writeSync(3, "no luck\\n")')).toBe("the controller did not start: no luck");
    expect(await words("")).toMatch("it ended without a word");
  });
});

describe("controllers", () => {
  it("are one at a time in a run folder", async () => {
    const sandbox = new Sandbox();
    await sandbox.controller();
    const first = sandbox.running;
    await sandbox.controller();
    expect(sandbox.running).toBeNull();
    await first?.close();
  });

  it("hold a lock that ends with them", async () => {
    const sandbox = new Sandbox();
    const path = join(sandbox.root, "lock");
    const lock = await takeLock(path, 0);
    expect(lock).not.toBeNull();
    expect(await takeLock(path, 0)).toBeNull();
    await lock?.release();
    const next = await takeLock(path, 0);
    expect(next).not.toBeNull();
    await next?.release();
  });
});

describe("a state file that cannot be read", () => {
  it.each([
    ["torn", '{"version":1,"na'],
    ["of another kind", '{"version":1,"name":"s"}'],
    ["empty", ""],
  ])("%s is one stack's misfortune, and can be deleted", async (_, text) => {
    const sandbox = new Sandbox();
    const first = await sandbox.controller();
    await finish(first.apply({ document, baseDir: sandbox.data }));
    await sandbox.dropController();
    mkdirSync(join(stackFile(sandbox.paths, "bad"), ".."), { recursive: true });
    writeFileSync(stackFile(sandbox.paths, "bad"), text);

    const client = await sandbox.controller();
    const { items } = await client.list();
    expect(items.map(({ metadata }) => metadata.name)).toEqual(["bad", "s"]);
    expect(items[0]?.status).toMatchObject({ phase: "Failed", conditions: [{ reason: "state-corrupt" }] });
    await client.wait("s", "ready", 20_000);

    const bad = stack("bad", { b: { file: { path: "b.img", size: "1MiB" } } }, ["b"]);
    const refused = finish(client.apply({ document: bad, baseDir: sandbox.data }));
    await expect(refused).rejects.toMatchObject({ code: "state-corrupt" });
    await finish(client.delete("bad"));
    const { done } = await finish(client.apply({ document: bad, baseDir: sandbox.data }));
    expect(done.result).toBe("created");
  });

  it("does not take the servers of its stack with it", async () => {
    const sandbox = new Sandbox();
    const first = await sandbox.controller();
    await finish(first.apply({ document, baseDir: sandbox.data }));
    const pids = await sandbox.pids("s");
    await sandbox.dropController();
    writeFileSync(stackFile(sandbox.paths, "s"), "{");
    const client = await sandbox.controller();
    expect(await sandbox.pids("s")).toEqual(pids);
    await finish(client.delete("s"));
    expect(await sandbox.pids("s")).toEqual({ supervisor: null, server: null });
    expect(list(sandbox.data)).toEqual(["a.img"]);
  });
});
