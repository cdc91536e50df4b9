/** Settings that a layer takes over while it runs, and what is no such setting. */
import { describe, expect, it } from "vitest";
import { hasChanges, plan } from "../../src/plan/plan.js";
import { simulate } from "../../src/plan/simulate.js";
import { error, file, HOST_WITHOUT_UBLK, MIB, stack, tableOf, world } from "../compile/build.js";
import { observed, steps } from "./world.js";

const sick = (options: Parameters<typeof error>[1], size = MIB, host = world()) =>
  tableOf(stack({ d0: file(size), sick: error("d0", options) }, { data: "sick" }), host);
const before = sick({ probability: 0 });

describe("new settings of an instrument", () => {
  it("are told to the server, and nothing restarts", () => {
    const after = sick({ probability: 0.5, seed: 7, nth: 3, ops: ["read"] });
    expect(steps(after, observed(before))).toEqual(["adjust sick"]);
    const made = plan(after, observed(before));
    expect(hasChanges(made)).toBe(true);
    expect(made.actions[0]?.changes.map(({ path }) => path)).toEqual([
      "layers.sick.params.ops",
      "layers.sick.params.probability",
      "layers.sick.params.seed",
      "layers.sick.params.nth",
    ]);
    expect(steps(after, simulate(after, observed(before), made))).toEqual(["none sick"]);
  });

  it("do not even interrupt clients of NBD", () => {
    const host = world({}, HOST_WITHOUT_UBLK);
    expect(steps(sick({ seed: 1 }, MIB, host), observed(sick({}, MIB, host)))).toEqual(["adjust @nbd"]);
  });

  it("go with the restart that something else needs", () => {
    const direct = tableOf(
      stack({ d0: file(MIB, { direct: "off" }), sick: error("d0", { seed: 1 }) }, { data: "sick" }),
    );
    expect(steps(direct, observed(before))).toEqual(["reload sick (pause)"]);
  });

  it("wait for a server when there is none", () => {
    const dead = { sick: { phase: "quiesced", server: "dead" } } as const;
    expect(steps(sick({ seed: 1 }), observed(before, dead))).toEqual(["reload sick (pause)"]);
  });
});

describe("an instrument put over a layer, or taken away", () => {
  const bare = tableOf(stack({ d0: file(MIB) }, { data: "d0" }));
  it("keeps the bytes", () => {
    for (const [from, to] of [
      [bare, before],
      [before, bare],
    ] as const) {
      const { blocked } = plan(to, observed(from));
      expect(blocked).toEqual([]);
    }
  });
});
