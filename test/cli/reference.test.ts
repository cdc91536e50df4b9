import { join } from "node:path";
import { expect, it } from "vitest";
import { renderReference } from "../../src/cli/render/reference.js";
import { ROOT } from "./harness.js";

it("docs/cli.md says what the program does", async () => {
  await expect(renderReference()).toMatchFileSnapshot(join(ROOT, "docs", "cli.md"));
});
