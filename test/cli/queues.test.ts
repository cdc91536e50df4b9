import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { explainQueues, queueLines } from "../../src/cli/render/queues.js";
import type { KernelStatus, QueueStatus } from "../../src/reconcile/status-schema.js";

const NOTHING_REDIRECTED = { operation: 0, layer: 0, failure: 0, buffer: 0, size: 0, flush: 0 };

function kernel(rest: Partial<KernelStatus> = {}): KernelStatus {
  return {
    requests: 0,
    redirected: NOTHING_REDIRECTED,
    enters: 1,
    steps: 0,
    polls: 0,
    programNs: null,
    ...rest,
  };
}

function queue(rest: Partial<QueueStatus> = {}): QueueStatus {
  return {
    device: "safe",
    queue: 0,
    engine: "uring-bpf",
    reason: "it can",
    copyMode: "auto-zero-copy",
    requests: 0,
    bytes: 0,
    inFlight: 0,
    enters: 1,
    scheduling: "normal",
    kernel: kernel(),
    ...rest,
  };
}

const linesOf = (...queues: QueueStatus[]) =>
  explainQueues(queues).flatMap((group) => queueLines(group, pc.createColors(false)));

describe("queues in the kernel", () => {
  it("that have done nothing yet divide by nothing", () => {
    expect(linesOf(queue())).toEqual([
      "  1 queue: engine uring-bpf, 0 requests",
      "    why: it can",
      "    done in the kernel: 0 requests in 0 runs of the program (sysctl kernel.bpf_stats_enabled=1 measures how long)",
      "    left to the server: none",
      "    zero copy: the driver registers a request's pages with the ring, leaves read and write them directly",
    ]);
  });

  it("say why each request was left to the server, and what those in the kernel took", () => {
    const redirected = { operation: 1, layer: 2, failure: 3, buffer: 4, size: 5, flush: 6 };
    const one = queue({
      requests: 121,
      kernel: kernel({ requests: 100, redirected, steps: 1, programNs: 150_000 }),
    });
    expect(linesOf(one).slice(2, -1)).toEqual([
      "    done in the kernel: 100 requests (82%) in 1 run of the program, 150.0µs while that was measured",
      "    left to the server: 21 requests",
      "      1 operation: discard or write-zeroes, which the server does",
      "      2 layer: a layer had to think, as a mirror does before its first write and where it copies",
      "      3 failure: IO failed or came short; the server tries again and counts the error",
      "      4 buffer: the driver could not lend the request's pages to the ring",
      "      5 size: split into more pieces than the program keeps track of",
      "      6 flush: a flush failed before; the server knows which data that puts in doubt",
    ]);
  });

  it("are summed, but not the time of some for the time of all", () => {
    const timed = queue({ kernel: kernel({ requests: 2, programNs: 10 }) });
    const untimed = queue({ kernel: kernel({ requests: 3 }) });
    expect(explainQueues([timed, timed])[0]?.kernel).toMatchObject({ requests: 4, enters: 2, programNs: 20 });
    expect(explainQueues([timed, untimed])[0]?.kernel).toMatchObject({ requests: 5, programNs: null });
  });

  it("stand apart from those that the server serves", () => {
    const native = queue({ engine: "native", reason: "it cannot", kernel: null });
    expect(explainQueues([queue(), native, native]).map((group) => [group.queues, group.kernel])).toEqual([
      [1, kernel()],
      [2, null],
    ]);
  });
});
