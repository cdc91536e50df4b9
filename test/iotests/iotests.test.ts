import { expect, it } from "vitest";
import { fetchTests, runTests, testsOf } from "./check.js";
import { writeFileSync } from "node:fs";

it("runs", async () => {
  const found = await fetchTests();
  if ("unavailable" in found) throw new Error(found.unavailable);
  const names = process.env.IOTESTS === "all" ? await testsOf(found.folder) : (process.env.IOTESTS ?? "001").split(" ");
  const outcomes = await runTests(found.folder, names, { jobs: 5, keep: "/tmp/iot/out", onLine: (l) => /^\S+ +(pass|fail|not run) /.test(l) && console.log(l.slice(0, 150)) });
  for (const [name, o] of outcomes) {
    writeFileSync(`/tmp/iot/res/${name.replace(/.*\//, "")}.json`, JSON.stringify({ ...o, account: { ...o.account, passed: Object.fromEntries(o.account.passed) } }, null, 1));
    writeFileSync(`/tmp/iot/res/${name.replace(/.*\//, "")}.diff`, o.difference);
  }
}, 36_000_000);
