/** Queues by what they have in common: their engine, why it was chosen, and what it has done. Pure. */

import type { KernelStatus, QueueStatus } from "../../reconcile/status-schema.js";
import type { Colors } from "../common/terminal.js";
import { countText, nanosText, percentText, plural } from "./amounts.js";

export interface ExplainedQueue {
  readonly engine: string;
  readonly reason: string;
  readonly copyMode: string;
  /** How many queues of the device have all this in common. */
  readonly queues: number;
  readonly requests: number;
  /** Calls of io_uring_enter. */
  readonly enters: number;
  /** Requests per call of io_uring_enter; null before the first call. */
  readonly requestsPerEnter: number | null;
  /** What the program in the kernel did for all of them; null for another engine. */
  readonly kernel: KernelStatus | null;
}

type Redirected = KernelStatus["redirected"];

const COPY_MODES: Readonly<Record<string, string>> = {
  "auto-zero-copy":
    "zero copy: the driver registers a request's pages with the ring, leaves read and write them directly",
  "zero-copy":
    "zero copy: a request's pages are registered with the ring, leaves read and write them directly",
  "user-copy": "user copy: data is read and written through the driver's character device",
  copy: "copy: the driver copies data between a request's pages and the server's buffers",
  nbd: "socket: data goes through the client's connection",
};

/** What a reason to leave a request to the server means for the one who runs the stack. */
const REDIRECTIONS: Readonly<Record<keyof Redirected, string>> = {
  operation: "discard or write-zeroes, which the server does",
  layer: "a layer had to think, as a mirror does before its first write and where it copies",
  failure: "IO failed or came short; the server tries again and counts the error",
  buffer: "the driver could not lend the request's pages to the ring",
  size: "split into more pieces than the program keeps track of",
  flush: "a flush failed before; the server knows which data that puts in doubt",
};

const REASONS = Object.keys(REDIRECTIONS) as (keyof Redirected)[];

export function redirectedSum(redirected: Redirected): number {
  return REASONS.reduce((total, reason) => total + redirected[reason], 0);
}

function addKernel(a: KernelStatus, b: KernelStatus): KernelStatus {
  const redirected = Object.fromEntries(
    REASONS.map((reason) => [reason, a.redirected[reason] + b.redirected[reason]]),
  ) as Redirected;
  return {
    requests: a.requests + b.requests,
    redirected,
    enters: a.enters + b.enters,
    steps: a.steps + b.steps,
    polls: a.polls + b.polls,
    // A sum of some would look like the sum of all.
    programNs: a.programNs === null || b.programNs === null ? null : a.programNs + b.programNs,
  };
}

function kernelOf(queues: readonly QueueStatus[]): KernelStatus | null {
  const [first, ...rest] = queues.flatMap(({ kernel }) => kernel ?? []);
  return first === undefined ? null : rest.reduce(addKernel, first);
}

export function explainQueues(queues: readonly QueueStatus[]): ExplainedQueue[] {
  const groups = new Map<string, QueueStatus[]>();
  for (const queue of queues) {
    const key = [queue.engine, queue.reason, queue.copyMode].join("\n");
    groups.set(key, [...(groups.get(key) ?? []), queue]);
  }
  const sum = (members: readonly QueueStatus[], key: "requests" | "enters"): number =>
    members.reduce((total, queue) => total + queue[key], 0);
  return [...groups.values()].flatMap((members) => {
    const [first] = members;
    if (first === undefined) return [];
    const [requests, enters] = [sum(members, "requests"), sum(members, "enters")];
    return [
      {
        engine: first.engine,
        reason: first.reason,
        copyMode: first.copyMode,
        queues: members.length,
        requests,
        enters,
        requestsPerEnter: requests === 0 || enters === 0 ? null : requests / enters,
        kernel: kernelOf(members),
      },
    ];
  });
}

function kernelLines({ requests, redirected, steps, programNs }: KernelStatus, { dim }: Colors): string[] {
  const left = redirectedSum(redirected);
  const share = requests + left === 0 ? "" : ` (${percentText(requests, requests + left)})`;
  const time =
    programNs === null
      ? dim(" (sysctl kernel.bpf_stats_enabled=1 measures how long)")
      : `, ${nanosText(programNs)} while that was measured`;
  return [
    `    done in the kernel: ${countText(requests)} requests${share} in ${countText(steps)} ${steps === 1 ? "run" : "runs"} of the program${time}`,
    `    left to the server: ${left === 0 ? "none" : `${countText(left)} requests`}`,
    ...REASONS.filter((reason) => redirected[reason] > 0).map(
      (reason) => `      ${countText(redirected[reason])} ${reason}: ${REDIRECTIONS[reason]}`,
    ),
  ];
}

export function queueLines(queue: ExplainedQueue, colors: Colors): string[] {
  const batch =
    queue.requestsPerEnter === null
      ? ""
      : colors.dim(` ${queue.requestsPerEnter.toFixed(1)} requests per io_uring_enter`);
  return [
    `  ${plural(queue.queues, "queue")}: engine ${colors.cyan(queue.engine)}, ${countText(queue.requests)} requests${batch}`,
    `    why: ${queue.reason}`,
    ...(queue.kernel === null ? [] : kernelLines(queue.kernel, colors)),
    `    ${COPY_MODES[queue.copyMode] ?? queue.copyMode}`,
  ];
}
