/** What is known by reads: for every check that depends on its disk alone, it is what the check would have said. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Knowledge } from "../../src/crash/model/knowledge.js";

const PLACES = 12;

interface Ran {
  order: number[];
  good: boolean;
}

/** A program made of chance: what it has seen decides where it looks next, when it ends and what it says. */
function runProgram(seed: number, disk: Int32Array): Ran {
  let seen = seed >>> 0;
  const stir = (value: number) => {
    seen = Math.imul(seen ^ (value + 0x9e3779b9), 0x85ebca6b) >>> 0;
    seen = (seen ^ (seen >>> 13)) >>> 0;
    return seen;
  };
  const order: number[] = [];
  for (let steps = 1 + (seen % 8); steps > 0; steps--) {
    const place = stir(steps) % PLACES;
    order.push(place);
    stir(disk[place] as number);
    if (seen % 11 === 0) break;
  }
  return { order: [...new Set(order)], good: seen % 3 > 0 };
}

/** Several programs at the same time: who reads when is chance, and the answer is not. */
function runTogether(seeds: readonly number[], disk: Int32Array, chance: () => number): Ran {
  const ran = seeds.map((seed) => runProgram(seed, disk));
  const left = ran.map(({ order }) => [...order]);
  const order: number[] = [];
  for (;;) {
    const some = left.filter((one) => one.length > 0);
    if (some.length === 0) break;
    order.push((some[chance() % some.length] as number[]).shift() as number);
  }
  return { order: [...new Set(order)], good: ran.every(({ good }) => good) };
}

const disk = fc
  .array(fc.nat(2), { minLength: PLACES, maxLength: PLACES })
  .map((contents) => Int32Array.from(contents));
const disks = fc.array(disk, { minLength: 1, maxLength: 60 });
const programs = fc.array(fc.nat(), { minLength: 1, maxLength: 3 });

/** Goes over disks as an exploration does. @returns how many checks it took */
function explore(
  seeds: readonly number[],
  all: readonly Int32Array[],
  chance: () => number,
  knowledge: Knowledge<{ good: boolean }>,
): number {
  let checks = 0;
  for (const now of all) {
    const { order, good } = runTogether(seeds, now, chance);
    const known = knowledge.find(now);
    if (known !== undefined) {
      expect(known.good).toBe(good);
      continue;
    }
    checks++;
    knowledge.learn(Int32Array.from(order), now, { good });
  }
  return checks;
}

describe("what is known by reads", () => {
  it("is what the check would have said, whatever it reads and in whichever order", () => {
    fc.assert(
      fc.property(programs, disks, fc.infiniteStream(fc.nat(100)), (seeds, all, stream) => {
        explore(seeds, all, () => stream.next().value as number, new Knowledge());
      }),
      { numRuns: 1000 },
    );
  });

  it("of one program is known for every disk that it cannot tell apart from an earlier one", () => {
    fc.assert(
      fc.property(fc.nat(), disks, (seed, all) => {
        const classes = new Set(
          all.map((now) => JSON.stringify(runProgram(seed, now).order.map((place) => [place, now[place]]))),
        );
        expect(explore([seed], all, () => 0, new Knowledge())).toBe(classes.size);
      }),
      { numRuns: 1000 },
    );
  });

  it("stays right when there is no more room for it", () => {
    fc.assert(
      fc.property(programs, disks, fc.nat(30), (seeds, all, room) => {
        explore(seeds, all, () => 0, new Knowledge(room));
      }),
      { numRuns: 300 },
    );
  });

  it("of a check that reads nothing is known for every disk", () => {
    const knowledge = new Knowledge<{ good: boolean }>();
    expect(knowledge.find(new Int32Array(3))).toBe(undefined);
    knowledge.learn(new Int32Array(0), new Int32Array(3), { good: true });
    expect(knowledge.find(Int32Array.of(1, 2, 3))).toEqual({ good: true });
  });

  it("takes the shorter way to an answer when it learns that less is enough", () => {
    const knowledge = new Knowledge<{ name: string }>();
    knowledge.learn(Int32Array.of(0, 1, 2), Int32Array.of(5, 6, 7), { name: "long" });
    expect(knowledge.find(Int32Array.of(5, 6, 0))).toBe(undefined);
    knowledge.learn(Int32Array.of(0, 1), Int32Array.of(5, 6, 0), { name: "short" });
    expect(knowledge.find(Int32Array.of(5, 6, 9))).toEqual({ name: "short" });
    expect(knowledge.find(Int32Array.of(5, 7, 9))).toBe(undefined);
  });
});
