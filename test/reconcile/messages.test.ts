/** The published schema of the status, and that what the controller says is what the schemas say. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { CHANGE_EVENT, DESCRIPTION, DIFF_REPLY, VERSION } from "../../src/reconcile/api.js";
import type { Schema } from "../../src/reconcile/message-schema.js";
import { PUBLISHED_STATUS_SCHEMA, STATUS_ITEM, STATUS_LIST } from "../../src/reconcile/status-schema.js";
import { finish, Sandbox, stack } from "./sandbox.js";

const PUBLISHED = join(import.meta.dirname, "../../schema/status.v1.schema.json");

function expectValid(schema: Schema<unknown>, value: unknown): void {
  const validate = new Ajv({ strict: true, strictTypes: false }).compile(schema);
  validate(value);
  expect(validate.errors).toBeNull();
}

describe("the published status schema", () => {
  it("is the one that the program has (vitest -u writes it)", async () => {
    await expect(`${JSON.stringify(PUBLISHED_STATUS_SCHEMA, null, 2)}\n`).toMatchFileSnapshot(PUBLISHED);
  });

  it("is a schema of its draft, with a description for every property", () => {
    const schema: unknown = JSON.parse(readFileSync(PUBLISHED, "utf8"));
    new Ajv2020({ strict: true, strictTypes: false }).compile(schema as object);
    const missing: string[] = [];
    const visit = (value: unknown, at: string): void => {
      if (typeof value !== "object" || value === null) return;
      for (const [key, inner] of Object.entries(value)) {
        if (key === "properties") {
          for (const [name, property] of Object.entries(
            inner as Record<string, { description?: string; anyOf?: unknown[] }>,
          )) {
            const described =
              property.description ??
              (property.anyOf?.[0] as { description?: string } | undefined)?.description;
            if (described === undefined || described === "") missing.push(`${at}.${name}`);
          }
        }
        visit(inner, `${at}.${key}`);
      }
    };
    visit(schema, "");
    expect(missing).toEqual([]);
  });
});

describe("the controller's answers", () => {
  it("are as their schemas say", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const a = { file: { path: "a.img", size: "1MiB" } };
    const document = stack(
      "s",
      { a, b: { memory: { size: "1MiB" } }, m: { mirror: { members: ["a", "b"] } } },
      ["m"],
    );
    const request = { document, baseDir: sandbox.data };
    expectValid(VERSION, await client.version());
    expectValid(DIFF_REPLY, await client.diff(request));
    for (const event of (await finish(client.apply(request))).events) expectValid(CHANGE_EVENT, event);
    expectValid(STATUS_ITEM, await client.get("s"));
    expectValid(STATUS_LIST, await client.list());
    expectValid(DESCRIPTION, await client.describe("s"));
    for (const event of (await finish(client.delete("s"))).events) expectValid(CHANGE_EVENT, event);
  });

  it("refuse what is no request, and say why", async () => {
    const sandbox = new Sandbox();
    const client = await sandbox.controller();
    const code = (work: Promise<unknown>) =>
      work.then(
        () => "fine",
        (error: { code: string }) => error.code,
      );
    const hostile = (body: unknown) => code(finish(client.apply(body as Parameters<typeof client.apply>[0])));
    expect(await hostile({})).toBe("bad-request");
    expect(await hostile({ document: [], baseDir: "/" })).toBe("bad-request");
    expect(await hostile({ document: {}, baseDir: "/" })).toBe("missing-key");
    expect(await code(client.get("no-such-stack"))).toBe("stack-unknown");
    expect(await code(client.get("../../etc"))).toBe("stack-unknown");
    expect(await code(finish(client.delete("x".repeat(100))))).toBe("bad-request");
    expect(await code(client.wait("none", "ready", 10))).toBe("stack-unknown");
  });
});
