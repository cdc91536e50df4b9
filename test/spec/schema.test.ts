import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { checkDocument, MAX_MEMBERS, STACK_SCHEMA } from "../../src/spec/index.js";

const root = resolve(import.meta.dirname, "../..");

type Schema = { [key: string]: unknown };
const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null;

/** Every schema of a property, by its place. */
function properties(schema: Schema, place = "#"): [string, Schema][] {
  const found: [string, Schema][] = [];
  for (const [key, value] of Object.entries(schema)) {
    if (!isSchema(value) || ["default", "examples", "enum"].includes(key)) continue;
    const here = `${place}/${key}`;
    if (key === "properties") {
      for (const [name, property] of Object.entries(value))
        found.push([`${here}/${name}`, property as Schema]);
    }
    found.push(...properties(value, here));
  }
  return found;
}

/** Layers that an example of another one names. */
function named({ members = [], base, log, backing }: Schema): string[] {
  return [...(members as string[]), base, log, backing].filter(
    (name): name is string => typeof name === "string",
  );
}

describe("the published schema", async () => {
  const { generate } = (await import(join(root, "schema/generate.mjs"))) as {
    generate: (root: string) => Promise<Record<string, string>>;
  };
  const fresh = await generate(root);

  it.each([
    "schema/stack.v1.schema.json",
    "src/spec/schema.gen.ts",
    "src/spec/validate.gen.ts",
    "src/spec/spec.gen.ts",
    "docs/spec.md",
    "docs/errors.md",
  ])("is what %s was generated from", (file) => {
    expect(readFileSync(join(root, file), "utf8"), "run npm run generate").toBe(fresh[file]);
  });

  it("is a valid schema of draft 2020-12", () => {
    const ajv = new Ajv2020({ strict: false });
    expect(STACK_SCHEMA.$schema).toBe("https://json-schema.org/draft/2020-12/schema");
    expect(ajv.validateSchema(STACK_SCHEMA), ajv.errorsText()).toBe(true);
  });

  it("needs nothing outside itself", () => {
    const references = [...JSON.stringify(STACK_SCHEMA).matchAll(/"\$ref":"([^"]*)"/g)].map(
      (match) => match[1],
    );
    expect(references.length).toBeGreaterThan(10);
    for (const reference of references) {
      const name = reference?.replace("#/$defs/", "") ?? "";
      expect(Object.keys(STACK_SCHEMA.$defs as Schema)).toContain(name);
    }
  });

  const all = properties(STACK_SCHEMA);

  it("describes every property", () => {
    expect(all.length).toBeGreaterThan(30);
    const silent = all.filter(
      ([, schema]) => typeof schema.description !== "string" || !/^[A-Z/a-z].*\.$/.test(schema.description),
    );
    expect(silent.map(([place]) => place)).toEqual([]);
  });

  it("closes every mapping, so that no slip of the pen passes", () => {
    const open = [STACK_SCHEMA, ...Object.values(STACK_SCHEMA.$defs as Record<string, Schema>)]
      .concat(all.map(([, schema]) => schema))
      .filter((schema) => schema.type === "object" && schema.additionalProperties === undefined);
    expect(open).toEqual([]);
  });

  it("limits members as the program says it does", () => {
    const { members } = STACK_SCHEMA.$defs as { members: { maxItems: number } };
    expect(members.maxItems).toBe(MAX_MEMBERS);
  });

  it("gives each layer an example that is valid", () => {
    const definitions = STACK_SCHEMA.$defs as Record<string, Schema>;
    const types = Object.keys((definitions.layer as { properties: Schema }).properties);
    for (const type of types.filter((key) => key !== "readOnly")) {
      const [example] = (definitions[`${type}Layer`]?.examples ?? [{}]) as [Schema];
      const { findings } = checkDocument({
        apiVersion: "ublk-stack/v1",
        kind: "Stack",
        metadata: { name: "example" },
        spec: {
          layers: {
            top: { [type]: example },
            ...Object.fromEntries(named(example).map((name) => [name, { memory: { size: "128MiB" } }])),
          },
          exports: { data: { layer: "top" } },
        },
      });
      expect(findings, type).toEqual([]);
    }
  });
});
