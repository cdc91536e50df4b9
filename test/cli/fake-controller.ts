/** A controller that says what a test wants, in the words of the real one's API, and remembers what it was asked. */

import { mkdirSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { dirname } from "node:path";
import { text } from "node:stream/consumers";
import {
  API_VERSION,
  type ChangeEvent,
  type Description,
  type DiffReply,
  type ErrorReply,
} from "../../src/reconcile/api.js";
import { controllerSocket, hereAndNow, resolvePaths } from "../../src/reconcile/paths.js";
import type { SnapshotList, SnapshotReply } from "../../src/reconcile/snapshot-schema.js";
import type { StatusItem } from "../../src/reconcile/status-schema.js";

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly body: Record<string, unknown> | null;
}

export interface Script {
  readonly items?: readonly StatusItem[];
  readonly descriptions?: Readonly<Record<string, Description>>;
  /** What each apply and delete answers, by stack name; a function may look at the request. */
  readonly change?: (asked: Asked) => readonly ChangeEvent[] | ErrorReply;
  /** Called when a change's events are said; the answer then stays open until the client leaves. */
  readonly hold?: () => void;
  readonly diff?: (asked: Asked) => DiffReply | ErrorReply;
  readonly snapshots?: (asked: Asked) => SnapshotList | SnapshotReply | ErrorReply;
  readonly wait?: (asked: Asked) => StatusItem | ErrorReply;
}

export interface FakeController {
  readonly asked: readonly Asked[];
  close(): Promise<void>;
}

function isError(answer: object): answer is ErrorReply {
  return "error" in answer;
}

function answerJson(response: ServerResponse, answer: object): void {
  response.writeHead(isError(answer) ? 400 : 200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
}

const unknownStack = (name: string): ErrorReply => ({
  error: { code: "stack-unknown", message: `there is no stack "${name}"`, details: {}, findings: [] },
});

function answer(script: Script, asked: Asked, response: ServerResponse): void {
  const { method, url } = asked;
  const [, name = "", sub = ""] = /^\/v1\/stacks\/([^/?]+)(?:\/([a-z]+))?/.exec(url) ?? [];
  const item = script.items?.find(({ metadata }) => metadata.name === name);
  if (url === "/v1/version") {
    answerJson(response, {
      version: "9.9.9",
      build: "9.9.9-fake",
      api: API_VERSION,
      pid: process.pid,
      stays: true,
    });
  } else if (url === "/v1/stacks") {
    answerJson(response, { apiVersion: "ublk-stack/v1", kind: "List", items: script.items ?? [] });
  } else if (url === "/v1/stop") {
    answerJson(response, { pid: 4711 });
  } else if (url === "/v1/diff") {
    answerJson(response, script.diff?.(asked) ?? unknownStack("diff"));
  } else if (sub === "layers") {
    answerJson(response, script.snapshots?.(asked) ?? unknownStack(name));
  } else if (method === "GET" && sub === "wait") {
    answerJson(response, script.wait?.(asked) ?? item ?? unknownStack(name));
  } else if (method === "GET" && sub === "description") {
    answerJson(response, script.descriptions?.[name] ?? unknownStack(name));
  } else if (method === "GET") {
    answerJson(response, item ?? unknownStack(name));
  } else {
    const events = script.change?.(asked) ?? unknownStack(name);
    if (isError(events)) {
      answerJson(response, events);
      return;
    }
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    for (const event of events) response.write(`${JSON.stringify(event)}\n`);
    if (script.hold === undefined) response.end();
    else script.hold();
  }
}

/** @param env of the commands under test: its run folder gets the socket */
export function startFakeController(
  env: Readonly<Record<string, string>>,
  script: Script,
): Promise<FakeController> {
  const socket = controllerSocket(resolvePaths({ ...hereAndNow(), env }));
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  const asked: Asked[] = [];
  const server = createServer(async (request: IncomingMessage, response) => {
    const content = await text(request);
    const one = {
      method: request.method ?? "",
      url: request.url ?? "",
      body: content === "" ? null : JSON.parse(content),
    };
    asked.push(one);
    answer(script, one, response);
  });
  return new Promise((onReady, onFailure) => {
    server.on("error", onFailure);
    server.listen(socket, () =>
      onReady({
        asked,
        close: () =>
          new Promise((onClose) => {
            server.close(() => onClose());
            server.closeAllConnections();
          }),
      }),
    );
  });
}
