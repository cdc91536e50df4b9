/** The controller's HTTP face: requests in, messages of api.ts out. No decisions here. */

import { type FastifyInstance, type FastifyReply, fastify } from "fastify";
import { StackError } from "../errors.js";
import {
  APPLY_REQUEST,
  type ApplyRequest,
  type ChangeEvent,
  DIFF_REQUEST,
  type DiffRequest,
  type DoneEvent,
  type ErrorReply,
  STOP_REPLY,
  VERSION,
  type Version,
  WAIT_CONDITIONS,
  type WaitCondition,
} from "./api.js";
import { COMPACTION_QUERY, type CompactionQuery } from "./compaction-schema.js";
import { bodyFromError } from "./error-body.js";
import type { Logger } from "./logbook.js";
import { SNAPSHOT_REQUEST, type SnapshotRequest } from "./snapshot-schema.js";
import type { Stacks } from "./stacks.js";
import { waitFor } from "./wait.js";

/** A document has 1 MiB at most; as JSON it may be longer. */
const BODY_BYTES = 4 * 2 ** 20;
/** The longest wait that a timer can do. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export interface HttpInput {
  readonly stacks: Stacks;
  readonly version: Version;
  readonly log: Logger;
  /** Whether the end has begun: then nothing new does. */
  readonly isEnding: () => boolean;
  /** Ends the controller once this answer is sent. @returns when changes under way are done */
  readonly end: () => Promise<void>;
  /** Called at the begin (+1) and end (-1) of every request. */
  readonly onRequest: (change: 1 | -1) => void;
}

const NAME = {
  type: "object",
  required: ["name"],
  properties: { name: { type: "string", minLength: 1, maxLength: 63 } },
};

const LAYER = {
  type: "object",
  required: ["name", "layer"],
  properties: { ...NAME.properties, layer: { type: "string", minLength: 1, maxLength: 255 } },
};

export function httpServer({ stacks, version, log, isEnding, end, onRequest }: HttpInput): FastifyInstance {
  const app = fastify({ bodyLimit: BODY_BYTES, forceCloseConnections: "idle" });

  app.setErrorHandler((error, _request, reply) => sendError(reply, error));
  app.setNotFoundHandler((request, reply) =>
    sendError(
      reply,
      new StackError("bad-request", `${request.method} ${request.url} is no request of this controller`),
    ),
  );
  app.addHook("onRequest", async (request) => {
    onRequest(1);
    request.raw.socket.setTimeout(0);
    if (isEnding()) throw new StackError("controller-busy", "the controller is ending");
  });
  app.addHook("onResponse", async () => onRequest(-1));

  app.get("/v1/version", { schema: { response: { 200: VERSION } } }, async () => version);
  app.get("/v1/stacks", async () => stacks.list());
  app.get<Named>("/v1/stacks/:name", { schema: { params: NAME } }, async ({ params }) =>
    stacks.get(params.name),
  );
  app.get<Named>("/v1/stacks/:name/description", { schema: { params: NAME } }, async ({ params }) =>
    stacks.describe(params.name),
  );
  app.get<Named & { Querystring: { for: WaitCondition; timeoutMs: number } }>(
    "/v1/stacks/:name/wait",
    { schema: { params: NAME, querystring: WAIT_QUERY } },
    async ({ params, query }) => waitFor(stacks, params.name, query.for, query.timeoutMs),
  );
  app.get<OfLayer>("/v1/stacks/:name/layers/:layer/snapshots", { schema: { params: LAYER } }, ({ params }) =>
    stacks.snapshots(params.name, params.layer),
  );
  app.post<OfLayer & { Body: SnapshotRequest }>(
    "/v1/stacks/:name/layers/:layer/snapshots",
    { schema: { params: LAYER, body: SNAPSHOT_REQUEST } },
    ({ params, body }) => stacks.changeSnapshots(params.name, params.layer, body),
  );
  const compaction = "/v1/stacks/:name/layers/:layer/compaction";
  const which = { schema: { params: LAYER, querystring: COMPACTION_QUERY } };
  app.post<OfLayer>(compaction, { schema: { params: LAYER } }, ({ params }) =>
    stacks.beginCompaction(params.name, params.layer),
  );
  app.get<OfLayer & { Querystring: CompactionQuery }>(compaction, which, ({ params, query }) =>
    stacks.compaction(params.name, params.layer, query.number),
  );
  app.delete<OfLayer & { Querystring: CompactionQuery }>(compaction, which, ({ params, query }) =>
    stacks.stopCompaction(params.name, params.layer, query.number),
  );
  app.post<{ Body: DiffRequest }>("/v1/diff", { schema: { body: DIFF_REQUEST } }, async ({ body }) =>
    stacks.diff(body),
  );
  app.post<{ Body: ApplyRequest }>("/v1/apply", { schema: { body: APPLY_REQUEST } }, ({ body }, reply) =>
    stream(reply, log, (emit) => stacks.apply(body, emit)),
  );
  app.delete<Named & { Querystring: { force?: boolean; timeoutMs?: number } }>(
    "/v1/stacks/:name",
    { schema: { params: NAME, querystring: DELETE_QUERY } },
    ({ params, query: { force = false, ...rest } }, reply) =>
      stream(reply, log, (emit) => stacks.delete(params.name, { force, ...rest }, emit)),
  );
  app.post("/v1/stop", { schema: { response: { 200: STOP_REPLY } } }, async () => {
    await end();
    return { pid: version.pid };
  });
  return app;
}

interface Named {
  Params: { name: string };
}

interface OfLayer {
  Params: { name: string; layer: string };
}

const TIMEOUT = { type: "integer", minimum: 1, maximum: MAX_TIMEOUT_MS };
const WAIT_QUERY = {
  type: "object",
  required: ["for", "timeoutMs"],
  properties: { for: { type: "string", enum: WAIT_CONDITIONS }, timeoutMs: TIMEOUT },
};
const DELETE_QUERY = { type: "object", properties: { force: { type: "boolean" }, timeoutMs: TIMEOUT } };

/**
 * Answers with lines as things happen. A refusal that comes before the first line has a status of its own; the change
 * goes on when the client leaves.
 */
async function stream(
  reply: FastifyReply,
  log: Logger,
  change: (emit: (event: ChangeEvent) => void) => Promise<DoneEvent>,
): Promise<void> {
  let begun = false;
  const emit = (event: ChangeEvent) => {
    if (!begun) reply.hijack().raw.writeHead(200, { "content-type": "application/x-ndjson" });
    begun = true;
    if (reply.raw.writable) reply.raw.write(`${JSON.stringify(event)}\n`);
  };
  try {
    emit(await change(emit));
  } catch (error) {
    if (!begun) throw error;
    log.error({ err: error }, "a change failed");
    emit({ event: "error", error: bodyFromError(error) });
  }
  reply.raw.end();
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const known = error instanceof StackError ? error : fromFastify(error);
  return reply.code(statusOf(known)).send({ error: bodyFromError(known ?? error) } satisfies ErrorReply);
}

/** What fastify itself refuses: a body that is no JSON, or does not fit its schema. */
function fromFastify(error: unknown): StackError | null {
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if (statusCode === undefined || statusCode >= 500) return null;
  return new StackError("bad-request", message ?? "the request was refused", {}, { cause: error });
}

function statusOf(error: StackError | null): number {
  if (error === null) return 500;
  if (error.code === "stack-unknown") return 404;
  if (error.code === "controller-busy") return 503;
  if (error.code === "timeout") return 504;
  return error.exitCode === 2 || error.code === "bad-request" ? 422 : 500;
}
