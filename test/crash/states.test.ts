/** The states that are explored against plain models: which they are, what is on the disk, and what they are called. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Composer } from "../../src/crash/model/composer.js";
import { simplerThan } from "../../src/crash/model/simplify.js";
import {
  compareStates,
  describeState,
  parseStateId,
  type State,
  stateId,
} from "../../src/crash/model/state.js";
import { statesOf, tearsOf } from "../../src/crash/model/states.js";
import { diskKey, everyDisk, historyOf, type Made, naiveDisk } from "./history.js";
import { discard, type Entry, flush, mark, SECTOR, sectors, write } from "./log-writer.js";

const DISK_SECTORS = 24;
const ALL = { subsets: 1_000_000, tears: 0, seed: 1 };

const entry: fc.Arbitrary<Entry> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.nat(20), fc.integer({ min: 1, max: 4 }), fc.nat(3), fc.constantFrom(0, 0, 0, 2, 1, 3))
      .map((all) => write(...all)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 4 })).map((all) => discard(...all)),
  },
  { weight: 2, arbitrary: fc.constant(flush) },
  { weight: 1, arbitrary: fc.constant(mark("m")) },
);
const base = fc.option(
  fc
    .array(fc.nat(3), { minLength: DISK_SECTORS, maxLength: DISK_SECTORS })
    .map((values) => Uint8Array.from(values.flatMap((value) => [...sectors(1, value)]))),
  { nil: undefined },
);
const made: fc.Arbitrary<Made> = fc
  .tuple(fc.array(entry, { minLength: 1, maxLength: 9 }), base)
  .map(([entries, disk]) => {
    const one = historyOf(entries, DISK_SECTORS, disk === undefined ? {} : { base: disk });
    const shown = entries.map(({ sector, sectors: count, flags, data }) => [sector, count, flags, data?.[0]]);
    return Object.assign(one, {
      [fc.toStringMethod]: () => JSON.stringify({ shown, based: disk !== undefined }),
    });
  });

/** What the composer has for a state, as a disk. */
function composedDisk({ history, base: disk }: Made, composer: Composer): Uint8Array {
  const image = disk.slice();
  composer.now.forEach((content, place) => {
    const at = (history.sectors[place] ?? 0) * SECTOR;
    if (content === 0) {
      image.fill(0, at, at + SECTOR);
      return;
    }
    const { source, offset } = history.contents.place(content);
    image.set(source.read(offset, SECTOR), at);
  });
  return image;
}

describe("the states of a log", () => {
  it("are all that the rules allow, when all are asked for", () => {
    fc.assert(
      fc.property(made, (one) => {
        const found = new Set([...statesOf(one.history, ALL)].map((state) => diskKey(naiveDisk(one, state))));
        expect(found).toEqual(everyDisk(one));
      }),
      { numRuns: 300 },
    );
  });

  it("have a name each, which leads back to them", () => {
    const breadth = fc.record({ subsets: fc.nat(40), tears: fc.nat(5), seed: fc.nat() });
    fc.assert(
      fc.property(made, breadth, ({ history }, options) => {
        const states = [...statesOf(history, options)];
        const ids = states.map((state) => stateId(history, state));
        expect(new Set(ids).size).toBe(ids.length);
        for (const [index, id] of ids.entries()) {
          expect(parseStateId(history, id)).toEqual(states[index]);
          expect(describeState(history, states[index] as State)).not.toContain("undefined");
        }
      }),
      { numRuns: 300 },
    );
  });

  it("are composed as a disk that is written from the beginning", () => {
    const order = fc.array(fc.nat(), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(made, order, (one, picks) => {
        const states = [...statesOf(one.history, { subsets: 20, tears: 3, seed: 5 })];
        if (states.length === 0) return;
        const composer = new Composer(one.history);
        const keys = new Map<string, string>();
        for (const pick of picks) {
          const state = states[pick % states.length] as State;
          const key = composer.compose(state);
          const disk = naiveDisk(one, state);
          expect(diskKey(composedDisk(one, composer))).toBe(diskKey(disk));
          // The same content, the same key; another content, another key.
          expect(keys.get(diskKey(disk)) ?? key).toBe(key);
          keys.set(diskKey(disk), key);
        }
        expect(new Set(keys.values()).size).toBe(keys.size);
      }),
      { numRuns: 300 },
    );
  });

  it("are the same for the same seed, and others for another", () => {
    const { history } = historyOf(
      Array.from({ length: 20 }, (_, i) => write(i, 2, i + 1)),
      DISK_SECTORS,
    );
    const names = (seed: number) =>
      [...statesOf(history, { subsets: 50, tears: 2, seed })].map((state) => stateId(history, state));
    expect(names(1)).toEqual(names(1));
    expect(names(1)).not.toEqual(names(2));
    const subsets = names(1).filter((id) => /[-+]|~\d+:/.test(id));
    expect(subsets).toHaveLength(50);
  });

  it("never lack what was written with forced unit access", () => {
    const entries = [write(0, 1, 1), write(1, 1, 2, 2), write(2, 1, 3), write(3, 1, 4)];
    const { history } = historyOf(entries, DISK_SECTORS);
    const after = [...statesOf(history, ALL)].filter(({ last }) => last > 1);
    expect(after.length).toBeGreaterThan(3);
    expect(after.filter(({ missing }) => missing.includes(1))).toEqual([]);
  });

  it("begin after the mark that was asked for", () => {
    const entries = [write(0, 1, 1), write(1, 1, 2), mark("go"), write(2, 1, 3), write(3, 1, 4)];
    const { history } = historyOf(entries, DISK_SECTORS, { from: 3 });
    const ids = [...statesOf(history, ALL)].map((state) => stateId(history, state));
    expect(ids).toEqual(["start", "3", "4", "4-3"]);
    expect(parseStateId(history, "1")).toBe(null);
  });
});

it.each([
  "",
  "99",
  "3",
  "-1",
  "0-0",
  "2-9",
  "2-1..",
  "2-1.0",
  "1~0",
  "0~2",
  "0~0..5",
  "2+2",
  "2-2",
  "2~1:0",
  "x",
  "2--1",
  "1~9:0",
])("%j is no state", (text) => {
  // Writes 0 (two sectors), 1 (one sector, FUA), 2 (one sector); 3 is a flush.
  const { history } = historyOf([write(0, 2, 1), write(4, 1, 2, 2), write(5, 1, 3), flush], DISK_SECTORS);
  expect(parseStateId(history, text)).toBe(null);
});

describe("torn writes", () => {
  it("are every part of a small write, when so many are wanted", () => {
    const parts = tearsOf(3, 6, () => 0).map((kept) => kept.join());
    expect(parts.sort()).toEqual(["0", "0,1", "0,2", "1", "1,2", "2"]);
  });

  it("are no more than wanted, and never the whole or nothing", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(20), fc.nat(), (count, limit, seed) => {
        let state = seed;
        const random = (below: number) => {
          state = (Math.imul(state, 1103515245) + 12345) >>> 0;
          return (state >>> 8) % below;
        };
        const parts = tearsOf(count, limit, random);
        expect(parts.length).toBeLessThanOrEqual(limit);
        expect(parts.every((kept) => kept.length > 0 && kept.length < count)).toBe(true);
      }),
    );
  });
});

it("a disk with sectors of 4096 bytes tears between these only", () => {
  const data = new Uint8Array(3 * 4096).map((_, at) => 1 + Math.floor(at / 4096));
  const { history } = historyOf([{ sector: 1, sectors: 3, flags: 0, data }], 64, { unit: 4096 });
  const states = [...statesOf(history, { subsets: 0, tears: 100, seed: 1 })];
  const ids = ["start", "0~0", "0~1", "0~0..1", "0~2", "0~0.2", "0~1..2", "0"];
  expect(states.map((state) => stateId(history, state))).toEqual(ids);
  const composer = new Composer(history);
  composer.compose(states[5] as State);
  const held = [...composer.now].map((content) => (content === 0 ? 0 : 1)).join("");
  expect(held).toBe("111111110000000011111111");
});

it("simpler states are simpler, and there are such for all but prefixes", () => {
  fc.assert(
    fc.property(made, ({ history }) => {
      for (const state of statesOf(history, { subsets: 30, tears: 2, seed: 3 })) {
        const simpler = [...simplerThan(history, state)];
        const plain = state.missing.length === 0 && state.tear === null;
        expect(simpler.length > 0).toBe(!plain);
        for (const other of simpler) {
          expect(compareStates(other, state)).toBeLessThan(0);
          expect(parseStateId(history, stateId(history, other))).toEqual(other);
        }
      }
    }),
    { numRuns: 200 },
  );
});
