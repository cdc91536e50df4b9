import { describe, expect, it } from "vitest";
import { NOTHING_OBSERVED } from "../../src/plan/observed.js";
import { hasChanges, plan } from "../../src/plan/plan.js";
import {
  file,
  HOST_WITHOUT_UBLK,
  linear,
  MIB,
  memory,
  mirror,
  stack,
  stripe,
  tableOf,
  world,
} from "../compile/build.js";
import { blocks, leaves, observed, steps } from "./world.js";

const parts = {
  d0: file(MIB),
  d1: file(MIB),
  d2: memory(2 * MIB),
  wide: stripe(65536, "d0", "d1"),
  safe: mirror("wide", "d2"),
};
const fused = tableOf(stack(parts, { data: "safe" }));
const cut = tableOf(stack(parts, { data: "safe", raw: "wide" }));
const nbd = tableOf(stack(parts, { data: "safe" }), world({}, HOST_WITHOUT_UBLK));

describe("a plan", () => {
  it("starts what is not there, from its files up", () => {
    const fresh = { ...NOTHING_OBSERVED, leaves: leaves(cut, "missing") };
    expect(steps(cut, fresh)).toEqual([
      "create-file d0 (online)",
      "create-file d1 (online)",
      "create-file d2 (online)",
      "start wide (online)",
      "start safe (online)",
    ]);
    expect(blocks(cut, fresh)).toEqual([]);
  });

  it("says that nothing is to be done", () => {
    const nothing = plan(cut, observed(cut));
    expect(steps(cut, observed(cut))).toEqual(["none wide", "none safe"]);
    expect(hasChanges(nothing)).toBe(false);
  });

  it("takes everything down from the top", () => {
    expect(steps(null, observed(cut))).toEqual(["stop safe (interrupts)", "stop wide (interrupts)"]);
    expect(steps(null, NOTHING_OBSERVED)).toEqual([]);
  });

  it("adopts what runs unwatched, or is starting", () => {
    expect(steps(cut, observed(cut, { wide: { adopted: false }, safe: { phase: "quiesced" } }))).toEqual([
      "adopt wide",
      "adopt safe",
    ]);
    expect(hasChanges(plan(cut, observed(cut, { wide: { adopted: false } })))).toBe(false);
  });

  it("recovers devices whose server died, bottom-up", () => {
    const dead = { phase: "quiesced", server: "dead" } as const;
    expect(steps(cut, observed(cut, { wide: dead, safe: dead }))).toEqual([
      "recover wide (online)",
      "recover safe (online)",
    ]);
  });

  it("makes a device anew that was added and never started", () => {
    expect(steps(fused, observed(fused, { safe: { phase: "added", server: "dead" } }))).toEqual([
      "stop safe (online)",
      "recreate safe (online)",
    ]);
  });

  it("replaces a server whose device fails its IO", () => {
    expect(steps(fused, observed(fused, { safe: { phase: "failed" } }))).toEqual(["reload safe (pause)"]);
  });

  it("makes a device anew of which nobody can tell what it serves", () => {
    expect(steps(fused, observed(fused, { safe: { table: null } }))).toEqual([
      "stop safe (interrupts)",
      "recreate safe (interrupts)",
    ]);
  });

  it("gives a server above a new server when the device below is new", () => {
    const gone = { phase: "absent", server: "absent" } as const;
    expect(steps(cut, observed(cut, { wide: gone }))).toEqual(["start wide (online)", "reload safe (pause)"]);
  });
});

describe("a change of the stack", () => {
  it("adds a member to a mirror under the device", () => {
    const wider = { ...parts, d3: file(2 * MIB), safe: mirror("wide", "d2", "d3") };
    const after = tableOf(stack(wider, { data: "safe" }));
    const before = {
      ...observed(fused, { safe: { inUse: true } }),
      leaves: new Map([["d3", "missing" as const]]),
    };
    expect(steps(after, before)).toEqual(["create-file d3 (online)", "reload safe (pause)"]);
    expect(blocks(after, before)).toEqual([]);
  });

  it("removes a member from a mirror under the device", () => {
    const three = tableOf(
      stack({ ...parts, d3: file(2 * MIB), safe: mirror("wide", "d2", "d3") }, { data: "safe" }),
    );
    expect(steps(fused, observed(three))).toEqual(["reload safe (pause)"]);
  });

  it("cuts a device in two: the upper lets go, the lower starts, the upper goes on", () => {
    expect(steps(cut, observed(fused, { safe: { inUse: true } }))).toEqual([
      "pause safe (pause)",
      "start wide (online)",
      "reload safe (pause)",
    ]);
    expect(blocks(cut, observed(fused, { safe: { inUse: true } }))).toEqual([]);
  });

  it("fuses two devices: the upper lets go, the lower stops, the upper goes on", () => {
    const before = observed(cut, { safe: { inUse: true }, wide: { inUse: true } });
    expect(steps(fused, before)).toEqual([
      "pause safe (pause)",
      "stop wide (interrupts)",
      "reload safe (pause)",
    ]);
    expect(blocks(fused, before)).toEqual([]);
  });

  it("moves between frontends and between fused and layered without touching data", () => {
    const layered = tableOf(stack(parts, { data: "safe" }, { compose: "layered" }));
    expect(blocks(nbd, observed(fused))).toEqual([]);
    expect(steps(nbd, observed(fused))).toEqual(["stop safe (interrupts)", "start @nbd (online)"]);
    expect(blocks(layered, observed(fused))).toEqual([]);
    expect(blocks(fused, observed(layered))).toEqual([]);
  });

  it("of ublk's own settings makes the device anew, unless it is in use", () => {
    const more = { layer: "safe", ublk: { queues: 1, depth: 8, id: null, poll: "auto" } as const };
    const after = tableOf(stack(parts, { data: more }));
    expect(steps(after, observed(fused))).toEqual(["stop safe (interrupts)", "recreate safe (interrupts)"]);
    expect(blocks(after, observed(fused))).toEqual([]);
    expect(blocks(after, observed(fused, { safe: { inUse: true } }))).toEqual([
      'device-in-use: device "safe" is in use and would be made anew: its ublk settings change',
    ]);
    expect(blocks(after, observed(fused, { safe: { inUse: true } }), { force: true })).toEqual([]);
  });

  it("of engine or polling is a new server under the same device", () => {
    const polling = { queues: null, depth: 128, id: null, poll: "on" } as const;
    const before = observed(fused, { safe: { inUse: true } });
    for (const [after, path] of [
      [tableOf(stack(parts, { data: "safe" }, { engine: "uring-bpf" })), "ublk.engine"],
      [tableOf(stack(parts, { data: { layer: "safe", ublk: polling } })), "ublk.poll"],
    ] as const) {
      expect(steps(after, before)).toEqual(["reload safe (pause)"]);
      expect(blocks(after, before)).toEqual([]);
      const [action] = plan(after, before).actions;
      expect(action?.reason).toBe("its server's settings change and its outside stays");
      expect(action?.changes.map((change) => change.path)).toEqual([path]);
    }
  });

  it("asks for the number that the device has", () => {
    const numbered = (id: number) =>
      tableOf(
        stack(parts, { data: { layer: "safe", ublk: { queues: null, depth: 128, id, poll: "auto" } } }),
      );
    expect(steps(numbered(5), observed(fused, { safe: { id: 5 } }))).toEqual(["reload safe (pause)"]);
    expect(steps(numbered(6), observed(fused, { safe: { id: 5 } }))).toContain("recreate safe (interrupts)");
    expect(steps(fused, observed(numbered(5), { safe: { id: 5 } }))).toEqual(["reload safe (pause)"]);
  });

  it("adds an NBD export by a new server, and drops one only when no client is there", () => {
    const two = tableOf(
      stack({ ...parts, x: file(MIB) }, { data: "safe", x: "x" }),
      world({}, HOST_WITHOUT_UBLK),
    );
    expect(steps(two, observed(nbd, { "@nbd": { inUse: true } }))).toEqual(["reload @nbd (interrupts)"]);
    expect(blocks(two, observed(nbd, { "@nbd": { inUse: true } }))).toEqual([]);
    expect(blocks(nbd, observed(two, { "@nbd": { inUse: true } }))).toEqual([
      'device-in-use: device "@nbd" is in use and would be made anew: export "x" goes',
    ]);
  });

  it("below leaves the device above waiting, not gone", () => {
    const lower = { layer: "wide", ublk: { queues: 1, depth: 8, id: null, poll: "auto" } as const };
    const after = tableOf(stack(parts, { data: "safe", raw: lower }));
    const before = observed(cut, { safe: { inUse: true }, wide: { inUse: true } });
    expect(steps(after, before)).toEqual([
      "pause safe (pause)",
      "stop wide (interrupts)",
      "recreate wide (interrupts)",
      "reload safe (pause)",
    ]);
    expect(blocks(after, before)).toEqual([]);
  });

  it("of the folder that a relative path starts from is seen", () => {
    const before = observed(fused, { safe: { paths: { d0: "/a/d0.img" } } });
    expect(steps(fused, before, { paths: { d0: "/a/d0.img" } })).toEqual(["none safe"]);
    const moved = plan(fused, before, { paths: { d0: "/b/d0.img" } });
    expect(moved.actions[0]?.changes).toEqual([
      { path: "layers.d0.path", before: "/a/d0.img", after: "/b/d0.img" },
    ]);
  });
});

describe("removal of a device in use", () => {
  it("is refused until forced", () => {
    const before = observed(fused, { safe: { inUse: true } });
    expect(blocks(null, before)).toEqual([
      'device-in-use: device "safe" is in use and would be removed: is no longer wanted',
    ]);
    expect(blocks(null, before, { force: true })).toEqual([]);
  });
});

describe("growth", () => {
  it("of a linear by another member keeps the data and makes the device anew", () => {
    const one = tableOf(stack({ a: file(MIB), l: linear("a") }, { data: "l" }));
    const two = tableOf(stack({ a: file(MIB), b: file(MIB), l: linear("a", "b") }, { data: "l" }));
    expect(steps(two, observed(one))).toEqual(["stop l (interrupts)", "recreate l (interrupts)"]);
    expect(blocks(two, observed(one))).toEqual([]);
    expect(blocks(one, observed(two))).toEqual([
      'data-loss: export "data" would lose the last 1048576 of its 2097152 bytes',
    ]);
  });
});
