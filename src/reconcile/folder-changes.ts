/** Waiting for something to happen in a folder, or for some time to pass, whichever is first. */

import { type FSWatcher, watch } from "node:fs";

export class FolderChanges {
  readonly #watcher: FSWatcher;
  #wake: () => void = () => undefined;

  constructor(folder: string) {
    this.#watcher = watch(folder, () => this.#wake());
    // A folder that goes away ends the watch; the time that passes still wakes the waiter.
    this.#watcher.on("error", () => this.#watcher.close());
  }

  next(atMostMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, atMostMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  close(): void {
    this.#watcher.close();
  }
}
