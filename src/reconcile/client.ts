/**
 * How the CLI and other programs talk to the controller: one HTTP request per question, over its unix socket.
 *
 *   const client = await openController({ start: "always" });
 *   for await (const event of client.apply({ document, baseDir })) …    // last event: "done"; failures are thrown
 */

import { existsSync, readdirSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { StackError } from "../errors.js";
import {
  API_VERSION,
  type ApplyRequest,
  type ChangeEvent,
  type Description,
  type DiffReply,
  type DiffRequest,
  type ErrorReply,
  type StopReply,
  type Version,
  type WaitCondition,
} from "./api.js";
import { buildId } from "./build-id.js";
import type { Compaction, CompactionBegun } from "./compaction-schema.js";
import { errorFromBody } from "./error-body.js";
import { controllerSocket, type Paths, resolvePaths, stackFile, stacksDir } from "./paths.js";
import type { SnapshotList, SnapshotReply, SnapshotRequest } from "./snapshot-schema.js";
import { spawnController } from "./spawn-controller.js";
import type { StatusItem, StatusList } from "./status-schema.js";

export interface OpenOptions {
  /**
   * always: start a controller when none runs (apply, diff). ifStacks: only when there are stacks to look after
   * (status, delete, wait). never: take what is there.
   */
  readonly start: "always" | "ifStacks" | "never";
  readonly paths?: Paths;
  /** Program and arguments of `controller run`; default: this package's own. */
  readonly command?: readonly string[];
  /** Our build; another build's controller is replaced. */
  readonly build?: string;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
}

interface SendOptions extends RequestOptions {
  /** It must not be made twice: what it does once, it refuses the second time. */
  readonly once?: boolean;
}

/**
 * The controller of this user, started or replaced if need be.
 * @returns null when none runs and `start` did not ask for one
 * @throws StackError controller-unreachable when one should run and does not answer
 */
export async function openController(options: OpenOptions & { start: "always" }): Promise<ControllerClient>;
export async function openController(options: OpenOptions): Promise<ControllerClient | null>;
export async function openController(options: OpenOptions): Promise<ControllerClient | null> {
  const paths = options.paths ?? resolvePaths();
  const wanted = () => options.start === "always" || (options.start === "ifStacks" && hasStacks(paths));
  const start = () => (wanted() ? spawnController(paths, options.command) : Promise.resolve());
  const client = new ControllerClient(controllerSocket(paths), options.start === "never" ? undefined : start);
  const running = await versionIfStaying(controllerSocket(paths));
  if (running !== null) {
    const ours = options.build ?? buildId();
    if (running.build === ours) return client;
    if (options.start === "never" || running.stays) {
      if (running.api === API_VERSION) return client;
      throw new StackError(
        "controller-unreachable",
        `the controller (${running.version}, process ${running.pid}) speaks another protocol than this program`,
      );
    }
    await stopIfThere(controllerSocket(paths));
  }
  if (!wanted()) return null;
  await start();
  return client;
}

async function stopIfThere(socket: string): Promise<void> {
  try {
    await new ControllerClient(socket).stop();
  } catch (error) {
    if (!(error instanceof StackError && error.details.gone === true)) throw error;
  }
}

/** One that is about to end is as good as none. */
async function versionIfStaying(socket: string): Promise<Version | null> {
  try {
    return await new ControllerClient(socket).versionIfRunning();
  } catch (error) {
    if (error instanceof StackError && error.code === "controller-busy") return null;
    throw error;
  }
}

/** Whether any stack was applied and not deleted. */
export function hasStacks(paths: Paths): boolean {
  const folder = stacksDir(paths);
  return existsSync(folder) && readdirSync(folder).some((name) => existsSync(stackFile(paths, name)));
}

export class ControllerClient {
  readonly #socket: string;
  readonly #start: (() => Promise<void>) | undefined;

  /**
   * @param socket path of the controller's socket; nothing is connected before the first request
   * @param start called when the controller has ended meanwhile, as it does after its last stack; then the request is
   *   made once more: every request of ours may be, but for those that say otherwise
   */
  constructor(socket: string, start?: () => Promise<void>) {
    this.#socket = socket;
    this.#start = start;
  }

  version(options?: RequestOptions): Promise<Version> {
    return this.#ask("GET", "/v1/version", undefined, options);
  }

  /** @returns null when nobody listens */
  async versionIfRunning(): Promise<Version | null> {
    try {
      return await this.version({ signal: AbortSignal.timeout(ANSWER_MS) });
    } catch (error) {
      if (error instanceof StackError && error.details.gone === true) return null;
      if ((error as Error).name !== "AbortError") throw error;
      const what = `the controller at ${this.#socket} did not answer within ${ANSWER_MS / 1000} s`;
      throw new StackError("controller-unreachable", what, {}, { cause: error });
    }
  }

  list(options?: RequestOptions): Promise<StatusList> {
    return this.#ask("GET", "/v1/stacks", undefined, options);
  }

  /** @throws StackError stack-unknown */
  get(name: string, options?: RequestOptions): Promise<StatusItem> {
    return this.#ask("GET", stackUrl(name), undefined, options);
  }

  /** Document and table of a stack. @throws StackError stack-unknown */
  describe(name: string, options?: RequestOptions): Promise<Description> {
    return this.#ask("GET", `${stackUrl(name)}/description`, undefined, options);
  }

  /**
   * Waits until a stack is ready, or its mirrors are in sync.
   * @throws StackError timeout with what it waits for, stack-failed, stack-unknown
   */
  wait(
    name: string,
    condition: WaitCondition,
    timeoutMs: number,
    options?: RequestOptions,
  ): Promise<StatusItem> {
    return this.#ask(
      "GET",
      `${stackUrl(name)}/wait?for=${condition}&timeoutMs=${timeoutMs}`,
      undefined,
      options,
    );
  }

  /** The plan and warnings, changing nothing. @throws StackError with details.findings when the document is refused */
  diff(request: DiffRequest, options?: RequestOptions): Promise<DiffReply> {
    return this.#ask("POST", "/v1/diff", request, options);
  }

  /**
   * Makes the host run a document. The change goes on when the caller leaves early.
   * @returns events as they happen; the last one is "done"
   * @throws StackError with details.findings when the document is refused, details.plan when the plan is blocked
   */
  apply(request: ApplyRequest, options?: RequestOptions): AsyncGenerator<ChangeEvent, void, void> {
    return this.#change("POST", "/v1/apply", request, options);
  }

  /** Takes a stack down; data files stay. @throws StackError stack-unknown, device-in-use without force */
  delete(
    name: string,
    { force = false, timeoutMs, signal }: RequestOptions & { force?: boolean; timeoutMs?: number } = {},
  ): AsyncGenerator<ChangeEvent, void, void> {
    const query = new URLSearchParams({ force: String(force) });
    if (timeoutMs !== undefined) query.set("timeoutMs", String(timeoutMs));
    return this.#change(
      "DELETE",
      `${stackUrl(name)}?${query}`,
      undefined,
      signal === undefined ? {} : { signal },
    );
  }

  /** Of a layer of type qcow2. @throws StackError stack-unknown, unknown-layer, not-an-image */
  snapshots(name: string, layer: string, options?: RequestOptions): Promise<SnapshotList> {
    return this.#ask("GET", snapshotsUrl(name, layer), undefined, options);
  }

  /**
   * Takes, applies or deletes a snapshot of a layer.
   * @throws StackError snapshot-unknown, snapshot-exists and others; the message says so where it may have been done
   *   nonetheless
   */
  changeSnapshots(
    name: string,
    layer: string,
    request: SnapshotRequest,
    options: RequestOptions = {},
  ): Promise<SnapshotReply> {
    return this.#ask("POST", snapshotsUrl(name, layer), request, { ...options, once: true });
  }

  /** Of a layer of type qcow2, which goes on being used. @throws StackError as snapshots(), and server-died, controller-busy */
  beginCompaction(name: string, layer: string, options?: RequestOptions): Promise<CompactionBegun> {
    return this.#ask("POST", compactionUrl(name, layer), {}, { ...options, once: true });
  }
  /** How far it is. @throws StackError why it has ended, if it is not done */
  compaction(name: string, layer: string, number: number, options?: RequestOptions): Promise<Compaction> {
    return this.#ask("GET", `${compactionUrl(name, layer)}?number=${number}`, undefined, options);
  }
  /** It ends soon. What it has done holds. */
  async stopCompaction(name: string, layer: string, number: number): Promise<void> {
    await this.#ask("DELETE", `${compactionUrl(name, layer)}?number=${number}`, undefined);
  }

  /** Ends the controller once changes under way are done, and waits for that; servers stay. */
  async stop(options?: RequestOptions): Promise<StopReply> {
    return this.#ask("POST", "/v1/stop", {}, options);
  }

  async *#change(
    method: string,
    url: string,
    body: unknown,
    options?: RequestOptions,
  ): AsyncGenerator<ChangeEvent, void, void> {
    const response = await this.#open(method, url, body, options);
    if (!succeeded(response)) throw await failure(response);
    for await (const line of linesOf(response)) {
      const event = JSON.parse(line) as ChangeEvent;
      if (event.event === "error") throw errorFromBody(event.error);
      yield event;
      if (event.event === "done") return;
    }
    throw new StackError(
      "controller-unreachable",
      "the controller ended before it answered; apply again to go on",
    );
  }

  async #ask<T>(method: string, url: string, body: unknown, options?: SendOptions): Promise<T> {
    const response = await this.#open(method, url, body, options);
    if (!succeeded(response)) throw await failure(response);
    return JSON.parse(await textOf(response)) as T;
  }

  async #open(
    method: string,
    url: string,
    body: unknown,
    options: SendOptions = {},
  ): Promise<IncomingMessage> {
    try {
      const response = await this.#send(method, url, body, options);
      if (response.statusCode !== ENDING || this.#start === undefined) return response;
      response.resume();
    } catch (error) {
      const gone = error instanceof StackError && error.details.gone === true;
      if (!gone || this.#start === undefined) throw error;
      // It may have read the request and have done what it says.
      if (options.once === true && error.details.connected === true) throw error;
    }
    await this.#start();
    return this.#send(method, url, body, options);
  }

  #send(method: string, url: string, body: unknown, options: RequestOptions): Promise<IncomingMessage> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          socketPath: this.#socket,
          method,
          path: url,
          agent: false,
          headers: payload === undefined ? {} : { "content-type": "application/json" },
          ...(options.signal === undefined ? {} : { signal: options.signal }),
        },
        resolve,
      );
      request.on("error", (error: NodeJS.ErrnoException) => reject(this.#unreachable(error)));
      request.end(payload);
    });
  }

  #unreachable(error: NodeJS.ErrnoException): Error {
    if (error.name === "AbortError") return error;
    const gone = GONE.has(error.code ?? "");
    const connected = error.syscall !== "connect";
    const what = !gone
      ? `the controller at ${this.#socket} does not answer`
      : connected
        ? `the controller at ${this.#socket} ended before it answered`
        : `no controller listens at ${this.#socket}`;
    return new StackError(
      "controller-unreachable",
      `${what}: ${error.message}`,
      { gone, connected },
      { cause: error },
    );
  }
}

/** How long a controller may take for a question that it answers from memory. */
const ANSWER_MS = 10_000;
/** The status of an answer that says only that the controller is about to end. */
const ENDING = 503;
/** A socket without a listener, or one whose listener ended before it read the request. */
const GONE = new Set(["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE"]);

const stackUrl = (name: string) => `/v1/stacks/${encodeURIComponent(name)}`;
const snapshotsUrl = (name: string, layer: string) =>
  `${stackUrl(name)}/layers/${encodeURIComponent(layer)}/snapshots`;
const compactionUrl = (name: string, layer: string) =>
  `${stackUrl(name)}/layers/${encodeURIComponent(layer)}/compaction`;
const succeeded = (response: IncomingMessage) => (response.statusCode ?? 500) < 300;

async function failure(response: IncomingMessage): Promise<StackError> {
  const body = await textOf(response);
  try {
    return errorFromBody((JSON.parse(body) as ErrorReply).error);
  } catch (error) {
    return new StackError(
      "internal",
      `the controller answered ${response.statusCode}: ${body}`,
      {},
      { cause: error },
    );
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let text = "";
  for await (const piece of response) text += piece;
  return text;
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string, void, void> {
  response.setEncoding("utf8");
  let rest = "";
  for await (const piece of response) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    yield* lines.filter((line) => line !== "");
  }
  if (rest !== "") yield rest;
}
