/** The table of every example, in full, with and without ublk: what servers are given is seen in review. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../src/compile/compile.js";
import { parseStacks } from "../../src/spec/index.js";
import { HOST, HOST_WITHOUT_UBLK, world } from "./build.js";
import { expectSoundTable } from "./table-rules.js";

const folder = join(import.meta.dirname, "../../stacks");
const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));

describe("the examples", () => {
  it("are there", () => {
    expect(files.length).toBeGreaterThanOrEqual(9);
  });

  it.each(files)("%s", async (name) => {
    const { documents, problems } = parseStacks(readFileSync(join(folder, name), "utf8"), name);
    expect(problems).toEqual([]);
    const hosts = { ublk: HOST, nbd: HOST_WITHOUT_UBLK };
    const results = documents.flatMap(({ spec }) =>
      Object.entries(hosts).map(([host, able]) => {
        const { table, findings } = compile(spec, world({}, able));
        if (table !== null) expectSoundTable(table);
        return { host, findings: findings.map(({ severity, message }) => `${severity}: ${message}`), table };
      }),
    );
    const golden = join(import.meta.dirname, "golden", name.replace(/\.yaml$/, ".json.snap"));
    await expect(`${JSON.stringify(results, null, 2)}\n`).toMatchFileSnapshot(golden);
  });
});
