/**
 * A job's disk that knows what is read of it: a file over FUSE, served by a thread from the log itself. Nothing is
 * rebuilt; the state is a list of numbers. Reads go past the page cache, so that each reaches the thread, whichever
 * process makes it, and none sees what an earlier state held.
 */

import { spawnSync } from "node:child_process";
import { closeSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { StackError } from "../errors.js";
import { loadNative, type NativeError } from "../native.js";
import { CONTROLS, NR_READ, SERVED, type SharedDisk, STOP, WANTED } from "./fuse/shared.js";
import type { Composer } from "./model/composer.js";
import type { History } from "./model/history.js";
import type { DiskLayout } from "./model/state-disk.js";
import type { Reads, RebuiltDisk } from "./rebuilt-disk.js";
import { unmountNow } from "./scratch.js";
import type { OpenSource } from "./sources.js";

type SharedParts = Pick<SharedDisk, "layout" | "sources" | "base">;

function shared<Values extends Uint8Array | Float64Array>(
  values: Values,
  make: (buffer: SharedArrayBuffer) => Values,
): Values {
  const copy = make(new SharedArrayBuffer(values.byteLength));
  copy.set(values);
  return copy;
}

/** What all jobs' disks have in common, in memory that their threads share. */
export function sharedParts(history: History, base: string | null): SharedParts {
  const { sources, sourceOf, offsetOf } = history.contents.table();
  const layout: DiskLayout = {
    diskBytes: history.diskBytes,
    sectors: shared(history.sectors, (buffer) => new Float64Array(buffer)),
    sourceOf: shared(sourceOf, (buffer) => new Uint8Array(buffer)),
    offsetOf: shared(offsetOf, (buffer) => new Float64Array(buffer)),
  };
  return { layout, sources: sources.map((source) => (source as OpenSource).path), base };
}

const words = (count: number) => new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT));

/** How long the last request of all may take: it is refused at once, unless the thread has ended without it. */
const LAST_MS = 1_000;

/** Why there is no such disk: no FUSE here, or not for us. */
export class NotMounted extends Error {}

/**
 * @param path of the file to be; its folder is there
 * @throws NotMounted
 */
export async function openRecordedDisk(
  path: string,
  history: History,
  parts: SharedParts,
): Promise<RebuiltDisk> {
  writeFileSync(path, "", { mode: 0o600 });
  let fd: number;
  try {
    fd = await loadNative().fuseMount(path);
  } catch (error) {
    const { message } = error as NativeError;
    throw new NotMounted(message, { cause: error });
  }
  return new RecordedDisk(path, fd, history, parts);
}

class RecordedDisk implements RebuiltDisk {
  readonly path: string;
  readonly #shared: SharedDisk;
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #failure: Error | null = null;
  #open = true;
  #epoch = -1;

  constructor(path: string, fd: number, history: History, parts: SharedParts) {
    this.path = path;
    const places = history.initial.length;
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const now = words(places);
    now.set(history.initial);
    this.#shared = { ...parts, fd, owner, now, order: words(places), control: words(CONTROLS) };
    this.#worker = new Worker(new URL("./fuse/worker.js", import.meta.url), { workerData: this.#shared });
    this.#ended = new Promise((resolve) => {
      this.#worker.once("error", (error) => {
        this.#failure = error as Error;
        // Whoever waits for an answer gets an error instead.
        this.#unmount();
      });
      this.#worker.once("exit", () => resolve());
    });
    // Node waits for its threads when it exits, and this one for the kernel.
    process.once("exit", this.#endAtExit);
  }

  hold(composer: Composer, epoch: number): void {
    const { now, control } = this.#shared;
    this.#mustServe();
    const whole = [{ begin: 0, end: now.length }];
    for (const { begin, end } of this.#epoch === epoch ? composer.spans : whole) {
      now.set(composer.now.subarray(begin, end), begin);
    }
    this.#epoch = epoch;
    Atomics.add(control, WANTED, 1);
  }

  reads(): Reads {
    const { now, order, control } = this.#shared;
    this.#mustServe();
    const touched = Atomics.load(control, SERVED) === Atomics.load(control, WANTED);
    return { places: order.slice(0, touched ? Atomics.load(control, NR_READ) : 0), now };
  }

  renew(): void {
    this.#epoch = -1;
  }

  async close(): Promise<void> {
    if (this.#open) {
      Atomics.store(this.#shared.control, STOP, 1);
      // Any request wakes the thread, which refuses it and ends: also where somebody still holds the file.
      const woken = open(this.path, "r").then(
        (file) => file.close(),
        () => {},
      );
      await this.#ended;
      this.#unmount();
      // A request that came before it, such as the end of a check's own file, may have been the last that was served.
      await woken;
    }
    process.removeListener("exit", this.#endAtExit);
    rmSync(this.path, { force: true });
  }

  #mustServe(): void {
    if (this.#failure === null) return;
    throw new StackError(
      "internal",
      `the disk ${this.path} is not served any more: ${this.#failure.message}`,
    );
  }

  readonly #endAtExit = () => {
    Atomics.store(this.#shared.control, STOP, 1);
    spawnSync("head", ["-c1", this.path], { stdio: "ignore", timeout: LAST_MS, killSignal: "SIGKILL" });
    this.#unmount();
  };

  #unmount(): void {
    if (!this.#open) return;
    this.#open = false;
    // First: it ends the requests that nobody will serve, and umount(8) would make one more.
    closeSync(this.#shared.fd);
    unmountNow(this.path);
  }
}
