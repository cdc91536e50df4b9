/**
 * What the controller and its clients say to each other: HTTP on RUN/controller.sock, JSON bodies, and for changes an
 * answer of JSON lines that ends with a line {event: "done"} or {event: "error"}. Every message is written here, once.
 *
 *   GET    /v1/version                         Version
 *   GET    /v1/stacks                          StatusList
 *   GET    /v1/stacks/:name                    StatusItem
 *   GET    /v1/stacks/:name/description        Description: document and table
 *   GET    /v1/stacks/:name/wait?for=&timeoutMs=   StatusItem, when the condition holds
 *   GET    /v1/stacks/:name/layers/:layer/snapshots    SnapshotList
 *   POST   /v1/stacks/:name/layers/:layer/snapshots    SnapshotRequest → SnapshotReply
 *   POST   /v1/stacks/:name/layers/:layer/compaction   CompactionBegun
 *   GET    /v1/stacks/:name/layers/:layer/compaction?number=N   Compaction; DELETE stops it
 *   POST   /v1/apply       ApplyRequest        lines of ChangeEvent
 *   POST   /v1/diff        DiffRequest         DiffReply
 *   DELETE /v1/stacks/:name?force=             lines of ChangeEvent
 *   POST   /v1/stop                            StopReply; the controller ends once changes under way are done
 *
 * Anything that fails answers with ErrorReply: 4xx when the request is at fault, 5xx otherwise.
 */

import type { Table } from "../compile/table.js";
import { ERROR_CODES } from "../errors.js";
import type { Plan } from "../plan/plan.js";
import type { DocPath, Finding, StackDocument } from "../spec/index.js";
import {
  anyOf,
  described,
  flag,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  type Schema,
  type Static,
  text,
} from "./message-schema.js";
import { STATUS_ITEM } from "./status-schema.js";

/** Raised when a message changes its meaning: client and controller of different numbers don't talk. */
export const API_VERSION = 1;

export const VERSION = object("Who answers", {
  version: text("Version of the package."),
  build: text("Changes with every build; a client of another build replaces the controller."),
  api: integer("API_VERSION of the controller."),
  pid: integer("Its process."),
  stays: flag("Whether somebody else (systemd) starts it again: then clients don't."),
});

const document: Schema<StackDocument> = described(
  "The document, as schema/stack.v1.schema.json describes it.",
);
const baseDir = text("Absolute path of the folder that relative paths start from.");

export const APPLY_REQUEST = object("Make the host run this document", {
  document,
  baseDir,
  dryRun: optional(flag("Plan only, change nothing.")),
  force: optional(flag("Recreate devices even while something has them open.")),
  allowDataLoss: optional(flag("Allow changes that make existing data unreadable.")),
  readd: optional(flag("Take dropped mirror members back; they are copied in full.")),
  wait: optional(flag("Whether to answer when the stack is ready (default) or once the change has begun.")),
  timeoutMs: optional(integer("How long the stack may take to become ready; default 120000.")),
});

export const DIFF_REQUEST = object("Say what apply would do", { document, baseDir });

const docPath: Schema<DocPath> = {
  type: "array",
  items: { type: ["string", "integer"] },
  description: "Keys and indexes from the root of the document.",
};

const FINDING: Schema<Finding> = object("One thing to say about the document", {
  path: docPath,
  at: oneOf("Whether the key at the end of the path is at fault, or what it holds.", ["key", "value"]),
  code: oneOf("The error's stable name.", ERROR_CODES),
  severity: oneOf("Errors refuse the document.", ["error", "warning"]),
  message: text("One sentence."),
  expected: optional(text("What would have been right.")),
  suggestion: optional(text("The nearest valid text.")),
  hint: optional(text("What else helps.")),
});

export const ERROR_BODY = object("What went wrong", {
  code: oneOf("The error's stable name.", ERROR_CODES),
  message: text("One sentence that names the thing at fault."),
  details: described<Readonly<Record<string, unknown>>>("Facts: paths, names, errno."),
  findings: list("What is wrong with the document, if that is the reason.", FINDING),
});

export const ERROR_REPLY = object("An answer that failed", { error: ERROR_BODY });

export const DIFF_REPLY = object("What apply would do", {
  plan: described<Plan>("The plan, as src/plan makes it."),
  table: described<Table>("The table that the plan leads to."),
  findings: list("Warnings about the document.", FINDING),
});

export const DESCRIPTION = object("What a stack was made from", {
  name: text("Its name."),
  document,
  baseDir,
  table: described<Table>("What the compiler made of it."),
});

export const STOP_REPLY = object("The controller will end", { pid: integer("Its process.") });

export const PROGRESS_PHASES = [
  "creating",
  "waiting",
  "starting",
  "recovering",
  "adjusting",
  "reloading",
  "stopping",
  "ready",
  "stopped",
  "failed",
] as const;

export const CHANGE_EVENT = anyOf(
  "One line of the answer to a change",
  object("A warning about the document", { event: oneOf("", ["finding"]), finding: FINDING }),
  object("What is going to be done", {
    event: oneOf("", ["plan"]),
    plan: described<Plan>("The plan."),
    table: nullable(described<Table>("The table that it leads to; null when the stack is taken down.")),
  }),
  object("Something happens to a device or layer", {
    event: oneOf("", ["progress"]),
    device: nullable(text("The device, null when it is about the stack as a whole.")),
    layer: nullable(text("The layer, where it is about one.")),
    phase: oneOf("What is being done.", PROGRESS_PHASES),
    message: text("One sentence."),
  }),
  object("The end, all is well", {
    event: oneOf("", ["done"]),
    result: oneOf("What became of the stack; planned: a dry run.", [
      "created",
      "configured",
      "unchanged",
      "deleted",
      "planned",
      "accepted",
    ]),
    item: nullable(STATUS_ITEM),
  }),
  object("The end, it failed", { event: oneOf("", ["error"]), error: ERROR_BODY }),
);

export type Version = Static<typeof VERSION>;
export type ApplyRequest = Static<typeof APPLY_REQUEST>;
export type DiffRequest = Static<typeof DIFF_REQUEST>;
export type DiffReply = Static<typeof DIFF_REPLY>;
export type Description = Static<typeof DESCRIPTION>;
export type StopReply = Static<typeof STOP_REPLY>;
export type ErrorBody = Static<typeof ERROR_BODY>;
export type ErrorReply = Static<typeof ERROR_REPLY>;
export type ChangeEvent = Static<typeof CHANGE_EVENT>;
export type ProgressEvent = Extract<ChangeEvent, { event: "progress" }>;
export type DoneEvent = Extract<ChangeEvent, { event: "done" }>;

export const WAIT_CONDITIONS = ["ready", "synced"] as const;
export type WaitCondition = (typeof WAIT_CONDITIONS)[number];
