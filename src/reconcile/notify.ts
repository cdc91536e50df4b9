/** Telling systemd that the controller is ready (Type=notify, NotifyAccess=all: the sender is systemd's own program). */

import { execFile } from "node:child_process";

const NOTIFY_MS = 5_000;

/** Does nothing unless systemd asked to be told. That it cannot be told is said to the journal: systemd then gives up. */
export function notifyReady(): Promise<void> {
  if (process.env.NOTIFY_SOCKET === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    execFile("systemd-notify", ["--ready"], { timeout: NOTIFY_MS }, (error) => {
      if (error !== null)
        process.stderr.write(`systemd cannot be told that the controller is ready: ${error.message}\n`);
      resolve();
    });
  });
}
