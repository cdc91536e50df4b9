/** What a server says about itself on its control socket ({"op":"status"}), checked where it is relied upon. */

import type { InstrumentStatus, MirrorStatus, QueueStatus } from "./status-schema.js";

type OfServer<T> = Omit<T, "device">;

export interface ServerReport {
  readonly pid: number;
  readonly uptimeMs: number;
  readonly device: { readonly id: number | null };
  readonly phase: "starting" | "ready" | "stopping";
  readonly exports: readonly { readonly name: string; readonly clients: number }[];
  readonly queues: readonly Omit<OfServer<QueueStatus>, "queue">[];
  readonly layers: readonly {
    readonly name: string;
    readonly type: string;
    readonly errors: Readonly<Record<string, number>>;
    readonly reads: number;
    readonly writes: number;
    readonly flushes: number;
    readonly discards: number;
    readonly bytesRead: number;
    readonly bytesWritten: number;
  }[];
  readonly mirrors: readonly OfServer<MirrorStatus>[];
  readonly instruments?: readonly OfServer<InstrumentStatus>[];
  readonly rssBytes: number;
}

/** @returns null when the answer is no report, as of a server of another build */
export function readReport(answer: unknown): ServerReport | null {
  if (typeof answer !== "object" || answer === null) return null;
  const report = answer as Partial<ServerReport>;
  const lists = [report.exports, report.queues, report.layers, report.mirrors];
  const complete =
    typeof report.pid === "number" &&
    typeof report.phase === "string" &&
    typeof report.device === "object" &&
    lists.every((list) => Array.isArray(list));
  return complete ? (report as ServerReport) : null;
}
