/**
 * QEMU's own tests of qcow2, with our server in the place of QEMU's driver: what they read and write goes through us,
 * and qemu-img and their expected output judge. expectations.txt says what comes of each, and why.
 *
 *     IOTESTS=all          every test that can run, and the summary: `npm run iotests`
 *     IOTESTS="026 039"    these, whatever is expected of them
 *
 * The tests are fetched as Debian's source package. Where that cannot be had, all of them are skipped aloud.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { fetchTests, type Outcome, qemuVersion, runTests, testsOf } from "./check.js";
import { countsTable, differencesTable, type Expectation, readTable, summary } from "./expectations.js";

const TIMEOUT_MS = 3 * 3600_000;
const asked = process.env.IOTESTS ?? "";
const table = readTable();
const rows = chosen();

function chosen(): readonly Expectation[] {
  if (asked === "") return table.rows.filter(({ expected }) => expected === "pass");
  if (asked === "all") return table.rows.filter(({ expected }) => !["qemu", "format"].includes(expected));
  const names = asked.split(/[\s,]+/);
  const unknown = names.filter((name) => !table.rows.some((row) => row.name === name));
  if (unknown.length > 0) throw new Error(`IOTESTS: the table has no ${unknown.join(", ")}`);
  return table.rows.filter(({ name }) => names.includes(name));
}

let unavailable = "";
let folder = "";
let outcomes = new Map<string, Outcome>();

beforeAll(async () => {
  const version = await qemuVersion();
  if (version !== table.version)
    unavailable = `expectations.txt is of QEMU ${table.version}, and this is ${version}`;
  const found = unavailable === "" ? await fetchTests() : { unavailable };
  if ("unavailable" in found) {
    unavailable = found.unavailable;
    console.warn(`SKIPPED: ${rows.length + 1} of QEMU's iotests: ${unavailable}`);
    return;
  }
  folder = found.folder;
  const names = rows.map(({ name }) => name);
  outcomes = await runTests(folder, names, asked === "" ? {} : { onLine: (line) => console.log(line) });
  if (asked === "all") console.log(`\n${summary(table.rows, notPassed())}`);
}, TIMEOUT_MS);

const notPassed = () =>
  new Set([...outcomes].filter(([, { status }]) => status !== "pass").map(([name]) => name));

it("docs/iotests.md says what the table says", () => {
  const page = readFileSync(join(import.meta.dirname, "../../docs/iotests.md"), "utf8");
  expect(page).toContain(countsTable(table.rows));
  expect(page).toContain(differencesTable(table.rows));
});

it("the table has every test of this QEMU, and no other", async ({ skip }) => {
  skip(unavailable !== "", unavailable);
  expect(table.rows.map(({ name }) => name).sort()).toEqual((await testsOf(folder)).sort());
});

describe("iotest", () => {
  beforeEach(({ skip }) => skip(unavailable !== "", unavailable));

  it.each(rows)("$name $expected $reason", ({ name, expected }) => {
    const { status, reason, difference, account } = outcomes.get(name) as Outcome;
    if (expected === "pass" || expected === "slow") {
      expect(status, `${reason}\n${difference}\n${account.refused.join("\n")}`).toBe("pass");
      expect(account.served, "images that our server served: else it says nothing of us").toBeGreaterThan(0);
    } else if (expected === "differs") {
      // One that has come to pass belongs to those that do.
      expect(status).toBe("fail");
    } else {
      console.log(`${name}: ${status} ${reason}\n${difference}`);
    }
  });
});
