/** The disk that is made up as it is read, against a plain array of bytes. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DiskLayout, type ReadSource, StateDisk } from "../../src/crash/model/state-disk.js";

const SECTOR = 512;
const DISK_SECTORS = 16;
const DISK_BYTES = DISK_SECTORS * SECTOR;

/** Bytes of a source from a place on: no two are alike within some sectors. */
const source = (number: number): Uint8Array =>
  Uint8Array.from({ length: 40 * SECTOR }, (_, at) => (at * 7 + (at >> 8) * 31 + number * 101) & 255);
const reader =
  (bytes: Uint8Array): ReadSource =>
  (offset, into) => {
    into.fill(0);
    into.set(bytes.subarray(Math.min(offset, bytes.length), Math.min(offset + into.length, bytes.length)));
  };

const SOURCES = [source(1), source(2)];
const BASE = source(3).subarray(0, DISK_BYTES - 700);

type Step =
  | { do: "read"; offset: number; length: number }
  | { do: "write"; offset: number; length: number; byte: number }
  | { do: "zero"; offset: number; length: number }
  | { do: "resize"; size: number };

const offset = fc.nat(DISK_BYTES + 900);
const length = fc.oneof(fc.nat(40), fc.constantFrom(512, 1024, 2048), fc.nat(3000));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("read" as const), offset, length }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("write" as const), offset, length, byte: fc.nat(255) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("zero" as const), offset, length }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("resize" as const), size: offset }) },
);

interface Setup {
  layout: DiskLayout;
  states: Int32Array[];
}

const setup: fc.Arbitrary<Setup> = fc
  .record({
    sectors: fc.uniqueArray(fc.nat(DISK_SECTORS - 1), { maxLength: 12 }),
    contents: fc.array(fc.tuple(fc.nat(1), fc.nat(30)), { minLength: 1, maxLength: 8 }),
    picks: fc.array(fc.array(fc.nat(), { minLength: 12, maxLength: 12 }), { minLength: 1, maxLength: 3 }),
  })
  .map(({ sectors, contents, picks }) => ({
    layout: {
      diskBytes: DISK_BYTES,
      sectors: Float64Array.from(sectors).sort(),
      // Content 0 is zeros, and stands nowhere.
      sourceOf: Uint8Array.from([0, ...contents.map(([number]) => number)]),
      offsetOf: Float64Array.from([0, ...contents.map(([, at]) => at * SECTOR)]),
    },
    states: picks.map((pick) =>
      Int32Array.from(sectors, (_, place) => (pick[place] as number) % (contents.length + 1)),
    ),
  }));

function plainDisk({ layout }: Setup, state: Int32Array): Uint8Array {
  const bytes = new Uint8Array(DISK_BYTES);
  bytes.set(BASE);
  layout.sectors.forEach((sector, place) => {
    const content = state[place] as number;
    const at = layout.offsetOf[content] as number;
    const data = SOURCES[layout.sourceOf[content] as number] as Uint8Array;
    bytes.set(content === 0 ? new Uint8Array(SECTOR) : data.subarray(at, at + SECTOR), sector * SECTOR);
  });
  return bytes;
}

/** Does a step on a plain array. @returns the array after it */
function plainly(bytes: Uint8Array, one: Step): Uint8Array {
  if (one.do === "resize") {
    const other = new Uint8Array(one.size);
    other.set(bytes.subarray(0, one.size));
    return other;
  }
  if (one.do === "zero") bytes.fill(0, one.offset, one.offset + one.length);
  if (one.do !== "write") return bytes;
  const longer = new Uint8Array(Math.max(bytes.length, one.offset + one.length));
  longer.set(bytes);
  return longer.fill(one.byte, one.offset, one.offset + one.length);
}

/** @returns what was read */
function doStep(disk: StateDisk, one: Step): Uint8Array | null {
  if (one.do === "write") {
    // As from a server's buffer, which the next request overwrites.
    const request = Buffer.alloc(one.length, one.byte);
    disk.write(one.offset, request);
    request.fill(~one.byte);
  }
  if (one.do === "zero") disk.zero(one.offset, one.length);
  if (one.do === "resize") disk.resize(one.size);
  if (one.do !== "read") return null;
  const into = new Uint8Array(one.length).fill(0xee);
  return into.subarray(0, disk.read(one.offset, into));
}

const digest = (bytes: Uint8Array | null) =>
  bytes === null ? null : createHash("md5").update(bytes).digest("hex");

function open({ layout, states }: Setup) {
  const now = (states[0] as Int32Array).slice();
  const order = new Int32Array(now.length);
  const disk = new StateDisk({ layout, now, order, sources: SOURCES.map(reader), base: reader(BASE) });
  return { disk, now, read: () => [...order.subarray(0, disk.nrRead)] };
}

const steps = fc.array(step, { maxLength: 12 });

describe("the disk of a state", () => {
  it("reads as a plain array does, and forgets what was written when the next state comes", () => {
    fc.assert(
      fc.property(setup, steps, (one, all) => {
        const { disk, now } = open(one);
        for (const state of one.states) {
          now.set(state);
          disk.begin();
          let bytes = plainDisk(one, state);
          for (const each of all) {
            bytes = plainly(bytes, each);
            const got = doStep(disk, each);
            expect(disk.size).toBe(bytes.length);
            if (got === null || each.do !== "read") continue;
            expect(Buffer.compare(got, bytes.subarray(each.offset, each.offset + each.length))).toBe(0);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("notes all that made a difference, each place once, and no place that is not touched", () => {
    const some = fc.tuple(setup, steps, fc.array(fc.nat(), { minLength: 12, maxLength: 12 }));
    fc.assert(
      fc.property(some, ([one, all, other]) => {
        const first = open(one);
        const seen = all.map((each) => digest(doStep(first.disk, each)));
        const read = first.read();
        expect(new Set(read).size).toBe(read.length);

        // Whatever stands where nothing was read, the same steps see the same.
        const second = open(one);
        const contents = one.layout.sourceOf.length;
        second.now.forEach((_, place) => {
          if (!read.includes(place)) second.now[place] = (other[place] as number) % contents;
        });
        expect(all.map((each) => digest(doStep(second.disk, each)))).toEqual(seen);
        expect(second.read()).toEqual(read);

        const touched = (sector: number) =>
          all.some((each) => {
            if (each.do === "resize") return Math.floor(each.size / SECTOR) === sector;
            const [begin, end] = [each.offset, each.offset + each.length];
            const part = begin > sector * SECTOR || end < (sector + 1) * SECTOR;
            return end > sector * SECTOR && begin < (sector + 1) * SECTOR && (each.do === "read" || part);
          });
        for (const place of read) expect(touched(one.layout.sectors[place] as number)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it("does not take what the check wrote for the state's", () => {
    const layout = {
      diskBytes: DISK_BYTES,
      sectors: Float64Array.of(0, 1, 2, 3),
      sourceOf: Uint8Array.of(0, 0),
      offsetOf: Float64Array.of(0, 0),
    };
    const { disk, read } = open({ layout, states: [Int32Array.of(1, 1, 1, 1)] });
    disk.write(0, new Uint8Array(SECTOR));
    disk.read(0, new Uint8Array(SECTOR));
    disk.zero(SECTOR, SECTOR);
    disk.read(SECTOR, new Uint8Array(SECTOR));
    expect(read()).toEqual([]);
    // Of the third sector the rest is the state's; the fourth is cut off.
    disk.write(2 * SECTOR, new Uint8Array(10));
    disk.resize(3 * SECTOR);
    disk.resize(4 * SECTOR);
    expect(disk.read(3 * SECTOR, new Uint8Array(SECTOR))).toBe(SECTOR);
    expect(read()).toEqual([2]);
  });
});
