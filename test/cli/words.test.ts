import fc from "fast-check";
import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "../../src/cli/common/duration.js";
import { meansFile } from "../../src/cli/common/stack-files.js";
import { renderTable } from "../../src/cli/common/table.js";
import { wantsColor } from "../../src/cli/common/terminal.js";
import { bytesText, countText, nanosText, percentText, plural } from "../../src/cli/render/amounts.js";

describe("durations", () => {
  it.each([
    ["30s", 30_000],
    ["2m", 120_000],
    ["1h30m", 5_400_000],
    ["250ms", 250],
    ["1.5s", 1500],
    ["90", 90_000],
    ["0", 0],
    ["1d", 86_400_000],
  ])("%s", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(["", "s", "-1s", "1 s", "1y", "1e3s", "s1", "1s2", "1.s", "99d", "∞"])("%j is none", (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  it("never gives a number that a timer cannot count", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d{1,20}(ms|s|m|h|d)$/)), (text) => {
        const milliseconds = parseDuration(text);
        expect(
          milliseconds === null ||
            (Number.isSafeInteger(milliseconds) && milliseconds >= 0 && milliseconds <= MAX_DURATION_MS),
        ).toBe(true);
      }),
    );
  });

  it("reads back what it prints, up to the two units that are shown", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (milliseconds) => {
        const shown = parseDuration(formatDuration(milliseconds));
        expect(shown).not.toBeNull();
        expect(shown).toBeLessThanOrEqual(milliseconds);
        expect(formatDuration(shown ?? -1)).toBe(formatDuration(milliseconds));
      }),
    );
  });
});

describe("amounts", () => {
  it("sizes", () => {
    expect([0, 512, 1024, 1536, 95_437, 536_870_912, 2 ** 60].map(bytesText)).toEqual([
      "0B",
      "512B",
      "1KiB",
      "1.5KiB",
      "93.2KiB",
      "512MiB",
      "1EiB",
    ]);
  });
  it("counts", () => {
    expect([0, 9999, 10_000, 123_456, 4_500_000, 2e9].map(countText)).toEqual([
      "0",
      "9999",
      "10.0k",
      "123k",
      "4.5M",
      "2.0G",
    ]);
  });
  it("times", () => {
    expect([0, 999, 1500, 12_300_000, 4.5e9].map(nanosText)).toEqual([
      "0ns",
      "999ns",
      "1.5µs",
      "12.3ms",
      "4.5s",
    ]);
  });
  it("shares: 100% means done", () => {
    expect([percentText(0, 10), percentText(999, 1000), percentText(10, 10), percentText(0, 0)]).toEqual([
      "0%",
      "99%",
      "100%",
      "100%",
    ]);
  });
  it("plurals", () => {
    expect([plural(1, "queue"), plural(0, "queue")]).toEqual(["1 queue", "0 queues"]);
  });
});

describe("files and names", () => {
  it("are told apart by the word alone, whatever is on disk", () => {
    expect(["-", "a.yaml", "./a", "/x", "dir/"].map(meansFile)).toEqual([true, true, true, true, true]);
    expect(["demo", "a-b", "x1"].map(meansFile)).toEqual([false, false, false]);
  });
});

describe("colour", () => {
  it("follows the stream, then FORCE_COLOR, then NO_COLOR", () => {
    expect(wantsColor(true, {})).toBe(true);
    expect(wantsColor(false, {})).toBe(false);
    expect(wantsColor(true, { TERM: "dumb" })).toBe(false);
    expect(wantsColor(false, { FORCE_COLOR: "1" })).toBe(true);
    expect(wantsColor(true, { FORCE_COLOR: "0" })).toBe(false);
    expect(wantsColor(false, { FORCE_COLOR: "" })).toBe(false);
    expect(wantsColor(true, { NO_COLOR: "1", FORCE_COLOR: "1" })).toBe(false);
    expect(wantsColor(true, { NO_COLOR: "" })).toBe(true);
  });
});

describe("tables", () => {
  it("align whatever is coloured, and end without blanks", () => {
    const colors = pc.createColors(true);
    const rows = [
      ["a", colors.red("long cell"), "x"],
      ["bb", "c", ""],
    ];
    const text = renderTable(["H", "HEAD", "T"], rows, pc.createColors(false));
    expect(text).toBe(`H    HEAD        T\na    ${colors.red("long cell")}   x\nbb   c\n`);
    expect(renderTable([], [], colors)).toBe("");
  });
});
