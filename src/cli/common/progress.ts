/**
 * Live progress of a change, one line per device with what its layers are doing, on a terminal only: elsewhere the
 * result says enough. Drawn on standard error, so that standard output holds the result alone.
 */

import type { Action, Plan } from "../../plan/plan.js";
import type { ProgressEvent } from "../../reconcile/api.js";
import type { Sink } from "./terminal.js";

export interface Progress {
  planned(plan: Plan): void;
  happened(event: ProgressEvent): void;
  /** Leaves the last state on the screen. Safe to call twice. */
  end(ok: boolean): Promise<void>;
}

/** Narrower, or of unknown width (0), a terminal would be drawn letter by letter. */
const MIN_COLUMNS = 20;

const SILENT: Progress = { planned: () => {}, happened: () => {}, end: async () => {} };

interface Line {
  /** What the task does while it runs. */
  say(message: string): void;
  resolve(): void;
  reject(error: Error): void;
}

const DOING: Readonly<Partial<Record<Action["kind"], string>>> = {
  start: "starting",
  recover: "recovering",
  adjust: "adjusting",
  reload: "reloading",
  recreate: "making anew",
  stop: "stopping",
  adopt: "adopting",
};

function titles(plan: Plan): Map<string, string> {
  const lines = new Map<string, string>();
  for (const { kind, device } of plan.actions) {
    const doing = DOING[kind];
    if (device !== null && doing !== undefined)
      lines.set(device, `${device.startsWith("@") ? "NBD server" : device}: ${doing}`);
  }
  return lines;
}

class LiveProgress implements Progress {
  readonly #stack: string;
  readonly #listr2: typeof import("listr2");
  readonly #lines = new Map<string, Line>();
  #running: Promise<unknown> | null = null;

  constructor(stack: string, listr2: typeof import("listr2")) {
    this.#stack = stack;
    this.#listr2 = listr2;
  }

  planned(plan: Plan): void {
    const lines = [...titles(plan)];
    if (this.#running !== null || lines.length === 0) return;
    const { Listr, ListrLogger, ProcessOutput } = this.#listr2;
    const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
    // Made now and not when the list comes to them: events may be faster than the list.
    const tasks = lines.map(([device, title]) => this.#task(device, title));
    const list = new Listr(
      [
        {
          title: `stack/${this.#stack}`,
          task: (_, task) => task.newListr(tasks, { concurrent: true, exitOnError: false }),
        },
      ],
      {
        renderer: "default",
        rendererOptions: { collapseSubtasks: false, collapseErrors: false, showErrorMessage: true, logger },
        exitOnError: false,
        registerSignalListeners: false,
      },
    );
    this.#running = list.run();
  }

  #task(
    device: string,
    title: string,
  ): { title: string; task: (_: unknown, task: { output: string }) => Promise<void> } {
    let resolve = (): void => {};
    let reject = (_: Error): void => {};
    const ended = new Promise<void>((onEnd, onFailure) => {
      resolve = onEnd;
      reject = onFailure;
    });
    // It may fail before the list has come to it, which is no unhandled failure.
    ended.catch(() => {});
    let shown: { output: string } | null = null;
    let last = "";
    this.#lines.set(device, {
      say: (message) => {
        last = message;
        if (shown !== null) shown.output = message;
      },
      resolve,
      reject,
    });
    return {
      title,
      task: (_, task) => {
        shown = task;
        if (last !== "") task.output = last;
        return ended;
      },
    };
  }

  happened({ device, layer, phase, message }: ProgressEvent): void {
    const line = device === null ? undefined : this.#lines.get(device);
    if (line === undefined) return;
    if (layer === null && (phase === "ready" || phase === "stopped")) line.resolve();
    else if (layer === null && phase === "failed") line.reject(new Error(message));
    else line.say(layer === null || message.includes(layer) ? message : `${layer}: ${message}`);
  }

  async end(ok: boolean): Promise<void> {
    const stopped = new Error("not finished");
    for (const line of this.#lines.values()) ok ? line.resolve() : line.reject(stopped);
    await this.#running;
  }
}

/** Progress for one stack, drawn if standard error is a terminal and the change is waited for. */
export async function createProgress(stack: string, err: Sink, wanted: boolean): Promise<Progress> {
  if (!err.isTerminal || err.columns < MIN_COLUMNS || !wanted) return SILENT;
  return new LiveProgress(stack, await import("listr2"));
}
