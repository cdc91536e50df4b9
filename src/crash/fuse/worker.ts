/** The thread that serves a job's disk: it waits for the kernel, not for JavaScript. */

import { openSync, readSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { workerData } from "node:worker_threads";
import { type ReadSource, StateDisk } from "../model/state-disk.js";
import { BUFFER_BYTES, FileService } from "./serve.js";
import { NR_READ, SERVED, type SharedDisk, STOP, WANTED } from "./shared.js";

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

function reader(path: string): ReadSource {
  const fd = openSync(path, "r");
  return (offset, into) => {
    let done = 0;
    while (done < into.length) {
      const got = readSync(fd, into, done, into.length - done, offset + done);
      if (got === 0) break;
      done += got;
    }
    into.fill(0, done);
  };
}

/** @returns how long the request is; null when nobody mounts us any more */
function nextRequest(fd: number, into: Buffer): number | null {
  for (;;) {
    try {
      return readSync(fd, into, 0, into.length, null);
    } catch (error) {
      // ENOENT: the request was taken back before we had it.
      const code = codeOf(error);
      if (code === "ENODEV") return null;
      if (code !== "EINTR" && code !== "EAGAIN" && code !== "ENOENT") throw error;
    }
  }
}

function send(fd: number, answer: Buffer): void {
  try {
    writeSync(fd, answer, 0, answer.length, null);
  } catch (error) {
    // Who asked was killed.
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

function serve({ fd, owner, layout, now, order, control, sources, base }: SharedDisk): void {
  const disk = new StateDisk({
    layout,
    now,
    order,
    sources: sources.map(reader),
    base: base === null ? (_offset, into) => into.fill(0) : reader(base),
  });
  const service = new FileService(disk, owner);
  const buffer = Buffer.alloc(BUFFER_BYTES);
  for (;;) {
    const length = nextRequest(fd, buffer);
    if (length === null) return;
    const request = buffer.subarray(0, length);
    if (Atomics.load(control, STOP) !== 0) {
      send(fd, service.refuse(request, constants.errno.ENODEV));
      return;
    }
    const wanted = Atomics.load(control, WANTED);
    if (wanted !== Atomics.load(control, SERVED)) {
      disk.begin();
      Atomics.store(control, NR_READ, 0);
      Atomics.store(control, SERVED, wanted);
    }
    const answer = service.serve(request);
    Atomics.store(control, NR_READ, disk.nrRead);
    if (answer !== null) send(fd, answer);
  }
}

serve(workerData as SharedDisk);
