/** `snapshot`: what is asked of the controller, and how its answers are said. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Snapshot } from "../../src/reconcile/snapshot-schema.js";
import { type FakeController, type Script, startFakeController } from "./fake-controller.js";
import { cli, type Result, temporaryFolder, userEnv } from "./harness.js";

let env: Record<string, string>;
let controller: FakeController | undefined;

beforeEach(() => {
  env = userEnv(temporaryFolder());
});
afterEach(async () => {
  await controller?.close();
  controller = undefined;
});

async function given(snapshots: Script["snapshots"]): Promise<void> {
  controller = await startFakeController(env, snapshots === undefined ? {} : { snapshots });
}
const snapshot = (...args: string[]): Promise<Result> => cli(["snapshot", ...args], { env });
const asked = () => controller?.asked.filter(({ url }) => url.endsWith("/snapshots"));

const FIRST: Snapshot = {
  id: "1",
  name: "before\u001b[31m",
  sizeBytes: 1 << 30,
  vmStateBytes: 0,
  seconds: 1_700_000_000,
  nanoseconds: 5,
  guestSeconds: 3723,
  guestNanoseconds: 45_000_000,
  icount: null,
};

describe("snapshot list", () => {
  it("is a table for people, with nothing in it that a terminal would obey", async () => {
    await given(() => ({ snapshots: [FIRST], underWay: null }));
    const { status, stdout, stderr } = await snapshot("demo/disk", "list");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^SNAPSHOT +TAG +SIZE +VM STATE +DATE +VM CLOCK\n/);
    expect(stdout).toMatch(/1 +before\S* +1 ?GiB +0 ?B? +2023-11-14T22:13:20Z +01:02:03\.045\n$/);
    expect(stdout).not.toContain("\u001b");
    expect(asked()).toEqual([{ method: "GET", url: "/v1/stacks/demo/layers/disk/snapshots", body: null }]);
  });

  it("has qemu-img's names for programs, and says what is under way", async () => {
    await given(() => ({ snapshots: [{ ...FIRST, icount: 7 }], underWay: { verb: "create", name: "x" } }));
    const { stdout } = await snapshot("demo/pair.0", "list", "-o", "json");
    expect(JSON.parse(stdout)).toEqual({
      layer: "demo/pair.0",
      snapshots: [
        {
          id: "1",
          name: FIRST.name,
          "vm-state-size": 0,
          "date-sec": 1_700_000_000,
          "date-nsec": 5,
          "vm-clock-sec": 3723,
          "vm-clock-nsec": 45_000_000,
          icount: 7,
          "virtual-size": 1 << 30,
        },
      ],
      "under-way": { verb: "create", name: "x" },
    });
    expect((await snapshot("demo/pair.0", "list")).stderr).toBe('create of "x" is under way\n');
  });

  it("of a layer without any is empty", async () => {
    await given(() => ({ snapshots: [], underWay: null }));
    expect(await snapshot("demo/disk", "list")).toEqual({
      status: 0,
      stdout: "",
      stderr: "demo/disk has no snapshots\n",
    });
  });
});

describe("a change", () => {
  it("is asked for as it is said, once, and its end is told", async () => {
    await given(({ body }) => ({ snapshot: body?.verb === "create" ? { ...FIRST, name: "a b" } : null }));
    expect((await snapshot("demo/disk", "create", "a b")).stdout).toBe(
      "demo/disk snapshot a b (id 1) created\n",
    );
    expect((await snapshot("demo/disk", "apply", "a b", "--force", "--timeout", "5s")).stdout).toBe(
      "demo/disk snapshot a b applied\n",
    );
    expect(JSON.parse((await snapshot("demo/disk", "delete", "1", "-o", "json")).stdout)).toEqual({
      layer: "demo/disk",
      result: "deleted",
      name: "1",
    });
    expect(asked()?.map(({ body }) => body)).toEqual([
      { verb: "create", name: "a b", force: false, timeoutMs: 60_000 },
      { verb: "apply", name: "a b", force: true, timeoutMs: 5_000 },
      { verb: "delete", name: "1", force: false, timeoutMs: 60_000 },
    ]);
  });

  it("that is refused exits 1, with what helps", async () => {
    const error = {
      code: "device-in-use" as const,
      message: 'the bytes of layer "disk" would change under its users',
      details: { hint: "--force applies it all the same" },
      findings: [],
    };
    await given(() => ({ error }));
    const { status, stderr } = await snapshot("demo/disk", "apply", "x");
    expect(status).toBe(1);
    expect(stderr).toContain("[device-in-use]");
    expect(stderr).toContain("hint: --force applies it all the same");
  });
});

it.each([
  ["disk", "list"],
  ["demo/disk", "list", "x"],
  ["demo/disk", "create"],
  ["demo/disk", "delete", ""],
  ["demo/disk", "rename", "x"],
  ["demo/disk", "create", "x", "--force"],
])("%j is bad usage, and nobody is asked", async (...words) => {
  await given(undefined);
  expect((await snapshot(...words)).status).toBe(2);
  expect(asked()).toEqual([]);
});
