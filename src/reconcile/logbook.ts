/** Where the controller writes: its own log, and beside the servers in the log of each stack. JSON lines of pino. */

import { destination, type Logger, pino } from "pino";
import { controllerLog, type Paths, stackLog } from "./paths.js";

export type { Logger } from "pino";

export class Logbook {
  readonly #paths: Paths;
  readonly #open = new Map<string, { logger: Logger; end: () => void }>();
  readonly controller: Logger;

  constructor(paths: Paths) {
    this.#paths = paths;
    this.controller = this.#opened("", controllerLog(paths));
  }

  of(stack: string): Logger {
    return this.#open.get(stack)?.logger ?? this.#opened(stack, stackLog(this.#paths, stack));
  }

  /** Closes the log of a stack that has gone; the file stays. */
  close(stack: string): void {
    this.#open.get(stack)?.end();
    this.#open.delete(stack);
  }

  closeAll(): void {
    for (const name of [...this.#open.keys()]) this.close(name);
  }

  #opened(key: string, path: string): Logger {
    // Synchronous: a controller may be killed at any time, and its last words count.
    const sink = destination({ dest: path, append: true, sync: true, mkdir: true, mode: 0o600 });
    const logger = pino({ base: key === "" ? { pid: process.pid } : { stack: key } }, sink);
    this.#open.set(key, { logger, end: () => sink.end() });
    return logger;
  }
}
