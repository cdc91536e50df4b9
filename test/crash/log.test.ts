/** Logs that cannot be trusted: cut anywhere, changed anywhere, or no logs at all. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { afterMark, parseLog } from "../../src/crash/model/log.js";
import { discard, type Entry, encodeLog, flush, mark, sourceOf, write } from "./log-writer.js";

const DISK = 64 * 512;
const SOME: Entry[] = [
  write(0, 2, 1),
  mark("ready"),
  discard(8, 4),
  flush,
  write(5, 1, 2, 2),
  write(60, 4, 3),
];
const parse = (bytes: Uint8Array, disk = DISK) => parseLog(sourceOf(bytes), disk);

describe("a log", () => {
  it("is read entry by entry", () => {
    const { entries, cut, promised } = parse(encodeLog(SOME));
    expect({ cut, promised }).toEqual({ cut: null, promised: 6 });
    expect(entries.map(({ sector, sectors, flags }) => [sector, sectors, flags])).toEqual([
      [0, 2, 0],
      [0, 0, 8],
      [8, 4, 4],
      [0, 0, 1],
      [5, 1, 2],
      [60, 4, 0],
    ]);
    expect(entries[0]?.dataOffset).toBe(1024);
    expect(entries[1]?.mark).toBe("ready");
  });

  it("of a disk with sectors of 4096 bytes counts in them", () => {
    const data = new Uint8Array(4096).fill(7);
    const { entries } = parse(encodeLog([{ sector: 2, sectors: 1, flags: 0, data }], 4096), 1 << 20);
    expect(entries[0]).toMatchObject({ sector: 16, sectors: 8, dataOffset: 8192 });
  });

  it("knows the last mark of a name", () => {
    const log = parse(encodeLog([mark("a"), write(0, 1, 1), mark("a"), write(1, 1, 1)]));
    expect(afterMark(log, "a")).toBe(3);
    expect(afterMark(log, "b")).toBe(null);
  });

  it.each([
    ["empty", Buffer.alloc(0), "too short"],
    ["zeros", Buffer.alloc(4096), "does not begin"],
    ["of another version", Buffer.from(encodeLog([])).fill(9, 8, 9), "version 9"],
    ["of a strange sector size", Buffer.from(encodeLog([])).fill(3, 24, 25), "sector size"],
  ])("that is %s is refused", (_, bytes, words) => {
    expect(() => parse(bytes)).toThrow(words);
  });

  it.each([
    ["unknown flags", { sector: 0, sectors: 1, flags: 64 }, "flags are 0x40"],
    ["a write beyond the disk", { sector: 63, sectors: 2, flags: 0 }, "of a disk of 32768"],
    ["nothing in it", { sector: 0, sectors: 0, flags: 0 }, "neither writes nor flushes"],
    ["a mark with data", { sector: 0, sectors: 3, flags: 8 }, "data follow"],
  ])("with an entry of %s is used up to it", (_, entry, words) => {
    const { entries, cut } = parse(encodeLog([write(0, 1, 1), entry, write(1, 1, 1)]));
    expect(entries).toHaveLength(1);
    expect(cut).toContain("entry 1 of 3");
    expect(cut).toContain(words);
  });

  it("that promises more entries than it has is used up to its end", () => {
    const { entries, cut } = parse(encodeLog(SOME, 512, 1e15));
    expect(entries).toHaveLength(6);
    expect(cut).toContain("cut short");
  });
});

const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc
    .tuple(fc.nat(59), fc.integer({ min: 1, max: 4 }), fc.nat(255), fc.constantFrom(0, 1, 2, 3, 16))
    .map((all) => write(...all)),
  fc.tuple(fc.nat(59), fc.integer({ min: 1, max: 4 })).map((all) => discard(...all)),
  fc.constant(flush),
  fc.string({ maxLength: 40 }).map(mark),
);

describe("whatever happened to a log", () => {
  it("cut at any byte, its whole entries are used, and no others", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), fc.nat(1_000_000), (all, place) => {
        const bytes = encodeLog(all);
        const length = 512 + (place % (bytes.length - 511));
        const { entries, cut } = parse(bytes.subarray(0, length));
        const whole = parse(bytes).entries;
        expect(entries).toEqual(whole.slice(0, entries.length));
        expect(cut === null).toBe(entries.length === whole.length);
        const ends = whole.map((_, index) => encodeLog(all.slice(0, index + 1)).length);
        expect(entries).toHaveLength(ends.filter((end) => end <= length).length);
      }),
    );
  });

  it("any bytes changed, it is refused in words, or read within its bounds", () => {
    const changes = fc.array(fc.tuple(fc.nat(1_000_000), fc.nat(255)), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), changes, (all, changed) => {
        const bytes = encodeLog(all);
        for (const [place, value] of changed) bytes[place % bytes.length] = value;
        let log: ReturnType<typeof parse>;
        try {
          log = parse(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: "log-unusable" });
          return;
        }
        for (const { sector, sectors, flags, dataOffset } of log.entries) {
          expect((sector + sectors) * 512).toBeLessThanOrEqual(DISK);
          if ((flags & 4) === 0) expect(dataOffset + sectors * 512).toBeLessThanOrEqual(bytes.length);
        }
      }),
      { numRuns: 500 },
    );
  });
});
