/**
 * Keeps the house as CONTRIBUTING.md draws it: the one-way streets between rooms, one stem per layer in every wing,
 * and nothing in a file that belongs to somebody's machine.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)));
const text = (file: string) => readFileSync(join(root, file), "utf8");

/** Rooms of src from the street's far end to its beginning: a room may import itself and rooms before it. */
const STREET = ["errors", "spec", "layers", "compile", "plan", "reconcile", "crash", "cli"];
const PURE = new Set(["errors", "spec", "layers", "compile", "plan"]);
/** Packages that only one room may know. */
const KEPT_TO = new Map([
  ["yaml", ["spec", "cli"]],
  ["ajv", ["spec", "reconcile"]],
  ["xstate", ["reconcile"]],
  ["fastify", ["reconcile"]],
  ["commander", ["cli"]],
]);

/** Rooms of which a part is pure. */
const PURE_PARTS = /^src\/crash\/model\//;
const isPure = (file: string) => PURE.has(room(file)) || PURE_PARTS.test(file);

const room = (file: string): string => {
  const [, first] = /^src\/([^/.]+)/.exec(file) ?? [];
  return first ?? "";
};

interface Import {
  from: string;
  to: string;
}

const imports: Import[] = files
  .filter((file) => /^src\/.*\.ts$/.test(file))
  .flatMap((from) =>
    [...text(from).matchAll(/(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|import\("([^"]+)"\)/g)].map(
      (match) => ({ from, to: match[1] ?? match[2] ?? "" }),
    ),
  );

describe("one-way streets of src", () => {
  const local = imports
    .filter(({ to }) => to.startsWith("."))
    .map(({ from, to }) => ({ from, to: relative(root, resolve(root, dirname(from), to)) }));

  it("reads a plausible number of imports", () => {
    expect(local.length).toBeGreaterThan(40);
  });

  it("never runs against the street", () => {
    const wrong = local.filter(({ from, to }) => {
      const [a, b] = [STREET.indexOf(room(from)), STREET.indexOf(room(to))];
      return a >= 0 && b > a;
    });
    expect(wrong).toEqual([]);
  });

  it("keeps spec to plan, and the model of crashes, free of files, clocks, processes and native code", () => {
    const wrong = imports.filter(
      ({ from, to }) => isPure(from) && (to.startsWith("node:") || /native/.test(to)),
    );
    expect(wrong).toEqual([]);
    const clocks = files.filter(
      (file) => isPure(file) && /\b(Date\.now|new Date\(|performance\.now|process\.)/.test(text(file)),
    );
    expect(clocks).toEqual([]);
  });

  it("loads the addon in one place, for the edges of reconcile and crash and the command line", () => {
    const wrong = local.filter(
      ({ from, to }) =>
        to === "src/native.js" && !["reconcile", "crash", "cli", "index"].includes(room(from)),
    );
    expect(wrong).toEqual([]);
  });

  it("keeps each package to its room", () => {
    const wrong = imports.filter(({ from, to }) => {
      const rooms = KEPT_TO.get(to.split("/")[0] ?? "");
      return rooms !== undefined && !rooms.includes(room(from));
    });
    expect(wrong).toEqual([]);
  });
});

describe("one-way streets of native", () => {
  /** A room and the rooms that its files may include. */
  const MAY: Record<string, string[]> = {
    core: ["core"],
    bpf: ["bpf", "core"],
    targets: ["targets", "core", "engine"],
    engine: ["engine", "targets", "bpf", "core"],
    frontends: ["frontends", "engine", "bpf", "core"],
    server: ["server", "frontends", "engine", "core"],
    addon: ["addon", "frontends", "engine", "targets", "core"],
  };
  const includes = files
    .filter((file) => /^native\/.*\.(h|c|cc)$/.test(file))
    .flatMap((from) =>
      [...text(from).matchAll(/#include "([^"]+)"/g)].map((match) => ({ from, to: match[1] ?? "" })),
    );

  it("never runs against the street", () => {
    const wrong = includes.filter(({ from, to }) => {
      const allowed = MAY[from.split("/")[1] ?? ""];
      const target = to.includes("/") ? to.split("/")[0] : from.split("/")[1];
      return allowed !== undefined && target !== undefined && target in MAY && !allowed.includes(target);
    });
    expect(wrong).toEqual([]);
  });

  it("lets no target include another target", () => {
    const wrong = includes.filter(({ from, to }) => {
      const [mine, theirs] = [
        /^native\/targets\/([^/]+)\//.exec(from)?.[1],
        /^targets\/([^/]+)\//.exec(to)?.[1],
      ];
      return mine !== undefined && theirs !== undefined && mine !== theirs;
    });
    expect(wrong).toEqual([]);
  });

  it("keeps the core free of libc and of C++", () => {
    const wrong = files.filter(
      (file) =>
        file.startsWith("native/core/") &&
        /#include <|\b(malloc|free|memcpy|class|template|throw)\b\s*[(<]/.test(text(file)),
    );
    expect(wrong).toEqual([]);
  });

  it("builds every source file that is there, and none that is not", () => {
    const listed = text("native/sources.txt")
      .split("\n")
      .filter((line) => line !== "");
    const present = files
      .filter((file) => /^native\/(engine|targets|frontends)\/.*\.(c|cc)$/.test(file))
      .map((file) => file.slice("native/".length));
    expect([...listed].filter((file) => !existsSync(join(root, "native", file)))).toEqual([]);
    expect(present.filter((file) => !listed.includes(file))).toEqual([]);
  });
});

describe("one stem per layer", () => {
  const stems = files
    .map((file) => /^schema\/layers\/(.+)\.schema\.json$/.exec(file)?.[1])
    .filter((stem) => stem !== undefined);

  /** The step in the core, and its vectors: a layer's own, that of all instruments or formats, or the leaves' none. */
  const step = (stem: string) => {
    if (files.includes(`native/core/${stem}.h`)) return stem;
    const target = `native/targets/${stem}/${stem}.h`;
    const [, kind] = (files.includes(target) && /: public (Instrument|Format)\b/.exec(text(target))) || [];
    return kind?.toLowerCase() ?? "leaves";
  };

  it("has layers", () => {
    expect(stems).toEqual(
      expect.arrayContaining(["file", "block", "memory", "null", "linear", "stripe", "mirror"]),
    );
  });

  it.each(stems)("%s has its place in every wing", (stem) => {
    expect(files).toContain(`src/layers/${stem}.ts`);
    expect(files).toContain(`stacks/${stem}.yaml`);
    expect(files).toContain(`test/vectors/${step(stem)}.json`);
  });

  it("gives every step of the core its vectors", () => {
    const steps = [...text("native/core/map.h").matchAll(/#include "(.+)\.h"/g)].map((match) => match[1]);
    expect(steps.length).toBeGreaterThan(3);
    expect(steps.filter((name) => !files.includes(`test/vectors/${name}.json`))).toEqual([]);
  });
});

describe("no file", () => {
  const textFiles = files.filter((file) => !/\.(png|svg|ico)$/.test(file) && file !== "test/tidy.test.ts");

  it("names a path of somebody's machine or a package registry's host", () => {
    const wrong = textFiles.filter((file) =>
      /\/(work|home\/[a-z]+)\/[a-z]|registry\.npmjs\.org/.test(text(file)),
    );
    expect(wrong).toEqual([]);
  });

  it("is larger than a person reads in one sitting", () => {
    const exempt = /(package-lock\.json|\.gen\.ts|\.schema\.json|\.snap|vectors\/.*\.json)$/;
    const wrong = textFiles.filter((file) => !exempt.test(file) && text(file).split("\n").length > 700);
    expect(wrong).toEqual([]);
  });
});

describe("the lock file", () => {
  interface Locked {
    version?: string;
    optionalDependencies?: Record<string, string>;
  }
  const { packages } = JSON.parse(text("package-lock.json")) as { packages: Record<string, Locked> };

  it("names every optional package, or `npm ci` refuses it on a fresh machine", () => {
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter(
        (name) => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages),
      ),
    );
    expect(missing).toEqual([]);
  });
});
