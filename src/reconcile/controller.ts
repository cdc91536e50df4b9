/**
 * The controller: one process for all stacks of a user. It may be killed at any time: what is desired is on disk, what
 * runs is observed, and the servers do not need it.
 */

import { rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { StackError } from "../errors.js";
import { API_VERSION, type Version } from "./api.js";
import { buildId, packageVersion } from "./build-id.js";
import { ControllerClient } from "./client.js";
import type { Driver } from "./driver.js";
import { httpServer } from "./http.js";
import { type Lock, takeLock } from "./lock.js";
import { Logbook } from "./logbook.js";
import { controllerLock, controllerSocket, ensurePrivateFolder, logsDir, type Paths } from "./paths.js";
import { Stacks } from "./stacks.js";

export interface ControllerOptions {
  readonly paths: Paths;
  readonly driver: Driver;
  /** Program and leading arguments of the server. */
  readonly serverCommand: readonly string[];
  /** Go on when the last stack is deleted: somebody else starts and ends us. */
  readonly stay: boolean;
  readonly build?: string;
  /** How long a controller without stacks and requests goes on. */
  readonly lingerMs?: number;
}

/** A controller without stacks waits this long for the next request. */
const LINGER_MS = 3_000;
/** How long a predecessor that does not answer any more may take to end. */
const TAKEOVER_S = 15;

export class Controller {
  readonly #options: ControllerOptions;
  readonly #logbook: Logbook;
  readonly #stacks: Stacks;
  readonly #lock: Lock;
  readonly #app: ReturnType<typeof httpServer>;
  #requests = 0;
  #ending = false;
  #linger: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;
  #tellEnded: () => void = () => undefined;
  /** Resolves when the controller has ended. */
  readonly ended = new Promise<void>((resolve) => {
    this.#tellEnded = resolve;
  });

  private constructor(options: ControllerOptions, lock: Lock) {
    const { paths, driver, serverCommand, stay } = options;
    this.#options = options;
    this.#lock = lock;
    this.#logbook = new Logbook(paths);
    const onCount = () => this.#considerEnd();
    const cpus = availableParallelism();
    this.#stacks = new Stacks({ paths, driver, serverCommand, logbook: this.#logbook, cpus, onCount });
    const version: Version = {
      version: packageVersion(),
      build: options.build ?? buildId(),
      api: API_VERSION,
      pid: process.pid,
      stays: stay,
    };
    this.#app = httpServer({
      stacks: this.#stacks,
      version,
      log: this.#logbook.controller,
      isEnding: () => this.#ending,
      end: () => this.#drain(),
      onRequest: (change) => {
        this.#requests += change;
        this.#considerEnd();
      },
    });
  }

  /**
   * Takes the lock, takes up the stacks, and listens.
   * @returns null when another controller does already
   * @throws StackError controller-busy when another holds the lock and does not answer
   */
  static async start(options: ControllerOptions): Promise<Controller | null> {
    const { paths } = options;
    ensurePrivateFolder(paths.runDir);
    ensurePrivateFolder(paths.stateDir);
    ensurePrivateFolder(logsDir(paths));
    const lock = await lockOrYield(paths);
    if (lock === null) return null;
    const controller = new Controller(options, lock);
    try {
      await controller.#listen();
      return controller;
    } catch (error) {
      await controller.close();
      throw error;
    }
  }

  /** Ends once changes under way are done; servers go on. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #listen(): Promise<void> {
    const { paths } = this.#options;
    await this.#stacks.load();
    // We hold the lock: whoever made the socket that is there has gone.
    rmSync(controllerSocket(paths), { force: true });
    await this.#app.listen({ path: controllerSocket(paths) });
    this.#logbook.controller.info({ stacks: this.#stacks.size, stateDir: paths.stateDir }, "listening");
    this.#considerEnd();
  }

  async #close(): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#linger);
    try {
      await this.#stacks.close();
      await this.#app.close();
      rmSync(controllerSocket(this.#options.paths), { force: true });
      this.#logbook.controller.info("ended; servers go on");
      this.#logbook.closeAll();
    } finally {
      await this.#lock.release();
      this.#tellEnded();
    }
  }

  /** Before the answer: nothing new begins and what was begun is done. After it: the end. */
  async #drain(): Promise<void> {
    this.#ending = true;
    await this.#stacks.idle();
    setImmediate(() => void this.close());
  }

  #considerEnd(): void {
    clearTimeout(this.#linger);
    if (this.#ending || this.#options.stay || this.#requests > 0 || this.#stacks.size > 0) return;
    this.#linger = setTimeout(() => void this.close(), this.#options.lingerMs ?? LINGER_MS);
  }
}

async function lockOrYield(paths: Paths): Promise<Lock | null> {
  const path = controllerLock(paths);
  const lock = await takeLock(path, 0);
  if (lock !== null) return lock;
  if (await answers(paths)) return null;
  const late = await takeLock(path, TAKEOVER_S);
  if (late !== null) return late;
  if (await answers(paths)) return null;
  throw new StackError("controller-busy", `another controller holds ${path} and does not answer`, { path });
}

async function answers(paths: Paths): Promise<boolean> {
  try {
    return (await new ControllerClient(controllerSocket(paths)).versionIfRunning()) !== null;
  } catch (error) {
    if (error instanceof StackError) return false;
    throw error;
  }
}
