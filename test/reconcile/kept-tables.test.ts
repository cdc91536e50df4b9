/** Whether a killed server has left tables of an image that it had not written yet. */

import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { keptTables } from "../../src/reconcile/kept-tables.js";
import { temporaryFolder } from "../cli/harness.js";

it("finds those of this file, and of no other", () => {
  const home = temporaryFolder();
  const image = join(home, "disk.qcow2");
  const paths = { stateDir: home, runDir: join(home, "run"), memoryDir: home, linkDir: null };
  writeFileSync(image, "");
  expect(keptTables(image, paths)).toEqual([]);
  const folder = join(paths.runDir, "stacks", "demo", "disk");
  mkdirSync(folder, { recursive: true });
  const { ino } = statSync(image);
  const keep = (layer: string, identity: string) =>
    writeFileSync(join(folder, `qcow2-${layer}`), `qcw-tbls\0\0boot\nqcow2 on ${identity}\n16`);
  keep("other", `file:${ino}7:1700000000.5:dev8:1`);
  keep("disk", `file:${ino}:1700000000.5:dev8:1`);
  writeFileSync(join(folder, "live"), `file:${ino}:`);
  expect(keptTables(image, paths)).toEqual([{ stack: "demo", layer: "disk" }]);
  expect(keptTables(join(home, "absent"), paths)).toEqual([]);
});
