/** Status items for tests: a healthy stack over NBD, one on ublk that lost a member, and their tables. */

import { compile } from "../../src/compile/compile.js";
import type { Table } from "../../src/compile/table.js";
import type { StatusItem } from "../../src/reconcile/status-schema.js";
import { parseStacks } from "../../src/spec/index.js";

const MIB = 1024 * 1024;

export const DEMO_YAML = `apiVersion: ublk-stack/v1
kind: Stack
metadata:
  name: demo
spec:
  layers:
    d0:   { file:   { path: d0.img, size: 256MiB } }
    d1:   { file:   { path: d1.img, size: 256MiB } }
    d2:   { memory: { size: 512MiB } }
    wide: { stripe: { members: [d0, d1], chunk: 64KiB } }
    safe: { mirror: { members: [wide, d2] } }
  exports:
    data: { layer: safe }
`;

/** @param ublk whether the host has it */
export function demoTable(ublk: boolean): Table {
  const [parsed] = parseStacks(DEMO_YAML, "demo.yaml").documents;
  if (parsed === undefined) throw new Error("the demo does not parse");
  const { table } = compile(parsed.spec, { media: new Map(), host: { ublk, cpus: 2 } });
  if (table === null) throw new Error("the demo does not compile");
  return table;
}

const SOCKET = "/run/ublk-stack/stacks/demo/nbd.sock";

export const HEALTHY: StatusItem = {
  apiVersion: "ublk-stack/v1",
  kind: "Stack",
  metadata: { name: "demo" },
  status: {
    phase: "Ready",
    compose: "fused",
    exports: {
      data: {
        phase: "Ready",
        frontend: "nbd",
        layer: "safe",
        readOnly: false,
        sizeBytes: 512 * MIB,
        uri: `nbd+unix:///data?socket=${SOCKET}`,
        device: null,
        path: null,
        tcp: null,
        clients: 2,
      },
    },
    devices: [
      {
        name: "@nbd",
        frontend: "nbd",
        phase: "Ready",
        device: null,
        id: null,
        opens: [],
        supervisorPid: 100,
        serverPid: 101,
        restarts: 0,
        uptimeMs: 192_000,
        rssBytes: 9 * MIB,
        error: null,
      },
    ],
    queues: [
      {
        device: "@nbd",
        queue: 0,
        engine: "native",
        reason: "NBD clients speak to a process",
        copyMode: "nbd",
        requests: 12_000,
        bytes: 49_152_000,
        inFlight: 0,
        enters: 3000,
        scheduling: "normal",
        kernel: null,
      },
    ],
    layers: [
      layer("safe", "mirror", 10_000, 2000),
      layer("wide", "stripe", 5000, 2000),
      layer("d0", "file", 2500, 1000),
      layer("d1", "file", 2500, 1000),
      layer("d2", "memory", 5000, 2000),
    ],
    instruments: [],
    mirrors: [
      {
        device: "@nbd",
        layer: "safe",
        dirty: false,
        members: [
          { name: "wide", state: "in-sync" },
          { name: "d2", state: "in-sync" },
        ],
        sync: null,
      },
    ],
    sync: null,
    conditions: [],
    baseDir: "/srv/stacks",
    logFile: "/var/lib/ublk-stack/logs/demo.log",
    createdFiles: ["/srv/stacks/d0.img", "/srv/stacks/d1.img"],
  },
};

function layer(
  name: string,
  type: string,
  reads: number,
  writes: number,
): StatusItem["status"]["layers"][number] {
  return {
    device: "@nbd",
    name,
    type,
    reads,
    writes,
    flushes: 7,
    discards: 0,
    bytesRead: reads * 4096,
    bytesWritten: writes * 4096,
    errors: {},
  };
}

/** The same stack on ublk, with a dropped member that is being copied again. */
export const DEGRADED: StatusItem = {
  ...HEALTHY,
  metadata: { name: "broken" },
  status: {
    ...HEALTHY.status,
    exports: {
      data: {
        phase: "Ready",
        frontend: "ublk",
        layer: "safe",
        readOnly: false,
        sizeBytes: 512 * MIB,
        uri: null,
        device: "/dev/ublkb3",
        path: "/dev/ublk-stack/broken/data",
        tcp: null,
        clients: null,
      },
    },
    devices: [
      {
        name: "safe",
        frontend: "ublk",
        phase: "Ready",
        device: "/dev/ublkb3",
        id: 3,
        opens: [],
        supervisorPid: 200,
        serverPid: 201,
        restarts: 4,
        uptimeMs: 90_061_000,
        rssBytes: 10 * MIB + 512 * 1024,
        error: null,
      },
    ],
    queues: [0, 1].map((queue) => ({
      device: "safe",
      queue,
      engine: "uring-bpf" as const,
      reason: "requests are carried out in the kernel's io_uring loop",
      copyMode: "auto-zero-copy",
      requests: 500,
      bytes: 2_048_000,
      inFlight: 1,
      enters: 21,
      scheduling: "batch" as const,
      kernel: {
        requests: 480,
        redirected: { operation: 12, layer: 0, failure: 3, buffer: 0, size: 0, flush: 0 },
        enters: 1,
        steps: 700,
        polls: 5,
        programNs: 960_000,
      },
    })),
    layers: [{ ...layer("d2", "memory", 0, 0), device: "safe", errors: { EIO: 12_345 } }],
    instruments: [],
    mirrors: [
      {
        device: "safe",
        layer: "safe",
        dirty: true,
        members: [
          { name: "wide", state: "in-sync" },
          { name: "d2", state: "syncing", reason: "write failed: EIO" },
        ],
        sync: { doneBytes: 128 * MIB, totalBytes: 512 * MIB },
      },
    ],
    sync: { doneBytes: 128 * MIB, totalBytes: 512 * MIB },
    conditions: [
      {
        type: "Degraded",
        status: "True",
        reason: "MemberSyncing",
        message: 'mirror "safe": member "d2" is not in sync: write failed: EIO',
        layer: "safe",
      },
    ],
  },
};
