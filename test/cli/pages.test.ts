/** The pages that people read first say what is true: files, links, scripts and verbs that they name exist. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { findVerb } from "../../src/cli/registry.js";
import { ROOT } from "./harness.js";

const PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];
const read = (name: string): string => readFileSync(join(ROOT, name), "utf8");
const scripts = Object.keys(JSON.parse(read("package.json")).scripts);
const all = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, found]) => found ?? "");

describe.each(PAGES)("%s", (page) => {
  const text = read(page);

  it("links to what is there", () => {
    const links = all(text, /\]\(([^)#]+)\)/g).filter((link) => !link.startsWith("https://"));
    expect(links.filter((link) => !existsSync(join(ROOT, link)))).toEqual([]);
  });

  it("names files that are there", () => {
    const files = all(text, /`((?:src|native|stacks|schema|deploy|test|docs)\/[^`\s]*)`/g).filter(
      (name) => !/\bx\b/.test(name),
    );
    expect(files.filter((name) => !existsSync(join(ROOT, name)))).toEqual([]);
  });

  it("names npm scripts that are there", () => {
    const named = all(text, /\bnpm run ([a-z-]+)/g);
    expect(named.filter((name) => !scripts.includes(name))).toEqual([]);
  });

  it("names verbs that are there", () => {
    const named = all(text, /(?:[$`] ?)ublk-stack ([a-z]+)/g);
    expect(named.filter((name) => findVerb(name) === undefined)).toEqual([]);
  });
});

describe("README.md", () => {
  it("shows the demo as it is", () => {
    const [shown = ""] = all(read("README.md"), /```yaml\n([\s\S]*?)```/g);
    const { spec, ...others } = parse(read("stacks/demo.yaml"));
    const { compose, ...same } = spec;
    expect(parse(shown)).toEqual({ ...others, spec: same });
    expect(compose).toBe("fused");
  });
});
