import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ERROR_CODES, ERROR_GROUPS, errorEntry, isErrorCode, StackError } from "../../src/errors.js";
import { formatSize, type Problem, parseSize, renderProblem } from "../../src/spec/index.js";
import { isName, nearestName } from "../../src/spec/names.js";
import { nearest } from "../../src/spec/nearest.js";
import { nearestSize } from "../../src/spec/size.js";

describe("sizes", () => {
  it("are read as they are written", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
        const text = formatSize(bytes);
        expect(parseSize(/^[0-9]+$/.test(text) ? Number(text) : text)).toBe(bytes);
      }),
    );
  });

  it.each([
    [1, 1],
    ["64KiB", 65536],
    ["8191TiB", 8191 * 2 ** 40],
    ["8192TiB", null],
    ["064KiB", null],
    ["64kib", null],
    ["4096", null],
    ["", null],
    [0, null],
    [-1, null],
    [1.5, null],
    [2 ** 53, null],
  ])("%j is %j bytes", (size, bytes) => {
    expect(parseSize(size)).toBe(bytes);
  });

  it.each([
    ["64k", "64KiB"],
    ["64 KB", "64KiB"],
    ["1.5GiB", "1536MiB"],
    ["4096", "4KiB"],
    ["1_000_000", "1000000"],
    ["100 bytes", "100"],
    ["0.1KiB", undefined],
    ["0", undefined],
    ["large", undefined],
  ])("%j was meant to be %j", (text, meant) => {
    expect(nearestSize(text)).toBe(meant);
  });
});

describe("the nearest word", () => {
  it.each([
    ["memebers", ["members", "chunk"], "members"],
    ["Path", ["size", "path"], "path"],
    ["d9", ["d0", "e"], "d0"],
    ["teh", ["the", "tea"], "the"],
    ["a", ["b"], undefined],
    ["exports", ["layers"], undefined],
    ["x", [], undefined],
  ])("of %j among %j is %j", (word, candidates, expected) => {
    expect(nearest(word, candidates)).toBe(expected);
  });

  it("finds every word with one slip of the finger", () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z]{3,20}$/),
        fc.nat(),
        fc.constantFrom("x", ""),
        (word, at, slip) => {
          const place = at % word.length;
          expect(nearest(word.slice(0, place) + slip + word.slice(place + 1), [word])).toBe(word);
        },
      ),
    );
  });

  it("is a valid name, for whatever text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const name = nearestName(text);
        if (name !== undefined) expect(isName(name)).toBe(true);
        if (isName(text)) expect(name?.replaceAll("-", "")).toBe(text.replaceAll("-", ""));
      }),
    );
  });
});

describe("the error catalogue", () => {
  it("has each code once, in words of one style", () => {
    const codes = Object.values(ERROR_GROUPS).flatMap((group) => Object.keys(group));
    expect(new Set(codes).size).toBe(codes.length);
    expect(ERROR_CODES).toEqual(codes);
    for (const code of ERROR_CODES) {
      expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
      expect(errorEntry(code).title).toMatch(/^[A-Z].*[^.]$/);
      expect(errorEntry(code).cure).toMatch(/^[A-Z`].*[.]$/);
    }
  });

  it("knows its codes from other texts", () => {
    expect(isErrorCode("cycle")).toBe(true);
    expect(isErrorCode("toString")).toBe(false);
  });

  it("makes errors that tell code, cure and exit", () => {
    const error = new StackError("path-in-use", "d0.img is in use by stack other", { path: "d0.img" });
    expect(error).toBeInstanceOf(Error);
    expect(error.exitCode).toBe(2);
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      code: "path-in-use",
      message: "d0.img is in use by stack other",
      cure: errorEntry("path-in-use").cure,
      details: { path: "d0.img" },
    });
  });
});

describe("a rendered problem", () => {
  const problem: Problem = {
    code: "bad-size",
    severity: "error",
    message: '"1MB" is not a size',
    file: "s.yaml",
    line: 2,
    column: 9,
    length: 3,
    expected: "a size",
    suggestion: "1MiB",
    hint: "a hint",
  };

  it("has colours when asked for, and the same words", () => {
    const text = "a:\n  size: 1MB\n";
    const plain = renderProblem(problem, text, { color: false });
    const colored = renderProblem(problem, text, { color: true });
    expect(colored).toContain("\u001b[31m");
    expect(stripVTControlCharacters(colored)).toBe(plain);
    expect(plain).toBe(
      [
        's.yaml:2:9: error: "1MB" is not a size [bad-size]',
        "  |",
        "2 |   size: 1MB",
        "  |         ^^^ expected a size",
        "  = did you mean 1MiB?",
        "  = hint: a hint",
      ].join("\n"),
    );
  });
});
