import { expect, it } from "vitest";
import {
  ANY_WORLD,
  compile,
  graphOfTable,
  graphText,
  NOTHING_OBSERVED,
  parseStacks,
  plan,
  renderPlan,
} from "../../src/index.js";
import { DEMO_YAML } from "./items.js";

it("the package does from text to plan what the command does", () => {
  const [stack] = parseStacks(DEMO_YAML, "demo.yaml").documents;
  if (stack === undefined) throw new Error("the demo does not parse");
  const { table, findings } = compile(stack.spec, ANY_WORLD);
  expect(findings).toEqual([]);
  if (table === null) throw new Error("the demo does not compile");
  expect(graphText(graphOfTable(table))).toContain("wide: stripe");
  expect(renderPlan("demo", table, plan(table, NOTHING_OBSERVED), { color: false })).toContain("Plan: ");
});
