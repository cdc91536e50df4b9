/**
 * What `ublk-stack status -o json` says: the type, the published schema (schema/status.v1.schema.json is this one,
 * and a test keeps them equal), and the words for phases.
 */

import {
  anyOf,
  described,
  flag,
  integer,
  list,
  map,
  nullable,
  object,
  oneOf,
  optional,
  type Static,
  text,
} from "./message-schema.js";

export const STACK_PHASES = ["Starting", "Ready", "Recovering", "Stopping", "Failed"] as const;
export const DEVICE_PHASES = [
  "Absent",
  "Starting",
  "Ready",
  "Recovering",
  "Reloading",
  "Stopping",
  "Failed",
] as const;

const EXPORT = object("One export", {
  phase: oneOf("Ready when clients can use it now.", DEVICE_PHASES),
  frontend: oneOf("How it is served.", ["ublk", "nbd"]),
  layer: text("Name of the layer that it shows."),
  readOnly: flag("Whether clients can only read."),
  sizeBytes: integer("Size of the layer in bytes."),
  uri: nullable(text("NBD URI, nbd+unix:///EXPORT?socket=PATH; null for ublk.")),
  device: nullable(text("Block device, /dev/ublkbN; null for NBD and while there is none.")),
  path: nullable(text("Stable name, /dev/ublk-stack/STACK/EXPORT; null for NBD.")),
  tcp: nullable(text("HOST:PORT where the stack's NBD server listens too, if the file asks for it.")),
  clients: nullable(integer("Connected NBD clients; null for ublk.")),
});

const DEVICE = object("One server: a ublk device, or all NBD exports of the stack", {
  name: text("Name of the device's root layer, or @nbd."),
  frontend: oneOf("How it is served.", ["ublk", "nbd"]),
  phase: oneOf("What it is doing.", DEVICE_PHASES),
  device: nullable(text("Block device, /dev/ublkbN; null for NBD and while there is none.")),
  id: nullable(integer("The N of /dev/ublkbN.")),
  opens: list("Devices of this stack that it opens.", text("Name of a device.")),
  supervisorPid: nullable(integer("Process that restarts the server when it dies.")),
  serverPid: nullable(integer("Process that serves.")),
  restarts: integer("How often the server was replaced while this controller watched."),
  uptimeMs: nullable(integer("Milliseconds since the server started.")),
  rssBytes: nullable(integer("Resident memory of the server.")),
  error: nullable(text("Why it is not ready, in the server's own words where it had some.")),
});

const KERNEL = object("What the program in the kernel's io_uring loop did", {
  requests: integer("Requests answered without the server."),
  redirected: object("Requests that it left to the server, by reason", {
    operation: integer("Discard, write-zeroes, and what the program does not know."),
    layer: integer("A layer had to decide, such as a mirror before its first write or where it copies."),
    failure: integer("IO failed or came short."),
    buffer: integer("The driver could not register the request's pages."),
    size: integer("More pieces than the program keeps track of."),
    flush: integer(
      "Flushes and durable writes above a page cache, whose failures only the server remembers.",
    ),
  }),
  enters: integer("Calls of io_uring_enter by the loop's thread: it stays inside."),
  steps: integer("Runs of the program."),
  polls: integer("Runs that found nothing to do while polling."),
  programNs: nullable(
    integer(
      "Nanoseconds spent in the program while sysctl kernel.bpf_stats_enabled was 1; null when it never was.",
    ),
  ),
});

const QUEUE = object("One queue of a device", {
  device: text("Name of the device."),
  queue: integer("Its number."),
  engine: oneOf("What carries out requests: a program in the kernel's io_uring loop, or the server.", [
    "uring-bpf",
    "native",
  ]),
  reason: text("Why this engine and no other."),
  copyMode: text("auto-zero-copy, copy or nbd."),
  requests: integer("Requests served."),
  bytes: integer("Bytes moved."),
  inFlight: integer("Requests being served now."),
  enters: integer("Calls of io_uring_enter."),
  scheduling: oneOf(
    "Of its thread. batch while requests come many at a time: woken, it lets the task that is submitting go on first.",
    ["normal", "batch"],
  ),
  kernel: nullable(KERNEL),
});

const LAYER = object("Counters of one layer since its server started", {
  device: text("Name of the device that it is part of."),
  name: text("Name of the layer."),
  type: text("Its type."),
  reads: integer("Reads."),
  writes: integer("Writes."),
  flushes: integer("Flushes."),
  discards: integer("Discards and write-zeroes."),
  bytesRead: integer("Bytes read."),
  bytesWritten: integer("Bytes written."),
  errors: map("Failed requests by errno name.", integer("How many.")),
});

const SYNC = object("Progress of a resynchronisation", {
  doneBytes: integer("Bytes that are equal again."),
  totalBytes: integer("Bytes to make equal."),
});

const MEMBER = object("One member of a mirror", {
  name: text("Name of the layer."),
  state: oneOf("in-sync members are read and written, syncing ones written, dropped ones neither.", [
    "in-sync",
    "syncing",
    "dropped",
  ]),
  reason: optional(text("Why it is not in sync.")),
  since: optional(anyOf("Since when.", text("RFC 3339."), integer("Milliseconds since 1970."))),
});

const MIRROR = object("State of one mirror", {
  device: text("Name of the device that it is part of."),
  layer: text("Name of the mirror."),
  dirty: flag("Whether members may differ because of writes under way."),
  members: list("Its members, in the order of the file.", MEMBER),
  sync: nullable(SYNC),
});

const INSTRUMENT = object("One instrument: a layer that does something to requests on purpose", {
  device: text("Name of the device that it is part of."),
  layer: text("Name of the layer."),
  settings: map(
    "Its settings now, as the table has them.",
    described<string | number | boolean>("A text, number or truth value."),
  ),
  counts: map("What it did, by name, since its server started.", integer("How often.")),
});

const CONDITION = object("Something to know about the stack, as Kubernetes words it", {
  type: oneOf(
    "Degraded: a mirror lost a member. Syncing: members are being made equal. Errors: IO failed on a layer. Fused: layered was asked for and cannot be had. Failed: a server does not run.",
    ["Degraded", "Syncing", "Errors", "Fused", "Failed"],
  ),
  status: oneOf("Conditions that do not hold are left out.", ["True"]),
  reason: text("One word for programs."),
  message: text("One sentence for people."),
  layer: nullable(text("The layer that it is about.")),
});

export const STATUS_ITEM = object("One stack", {
  apiVersion: oneOf("Version of this format.", ["ublk-stack/v1"]),
  kind: oneOf("What the item describes.", ["Stack"]),
  metadata: object("What the stack is called", { name: text("Its name.") }),
  status: object("What was observed", {
    phase: oneOf("Ready when every export can be used now.", STACK_PHASES),
    compose: oneOf("How layers become devices: what is in effect, not what the file asks for.", [
      "fused",
      "layered",
    ]),
    exports: map("Exports by name.", EXPORT),
    devices: list("Servers, bottom-up.", DEVICE),
    queues: list("Queues of all servers.", QUEUE),
    layers: list("Layers of all servers.", LAYER),
    mirrors: list("Mirrors of all servers.", MIRROR),
    instruments: list("Instruments of all servers.", INSTRUMENT),
    sync: nullable(SYNC),
    conditions: list("What holds now; empty when all is well.", CONDITION),
    baseDir: text("Folder that relative paths of the file start from."),
    logFile: text("Where servers and controller write about this stack."),
    createdFiles: list("Data files that an apply created; delete leaves them.", text("Absolute path.")),
  }),
});

export const STATUS_LIST = object("All stacks of this user, by name", {
  apiVersion: oneOf("Version of this format.", ["ublk-stack/v1"]),
  kind: oneOf("What this is.", ["List"]),
  items: list("The stacks.", STATUS_ITEM),
});

export type StatusItem = Static<typeof STATUS_ITEM>;
export type StatusList = Static<typeof STATUS_LIST>;
export type StackStatus = StatusItem["status"];
export type ExportStatus = Static<typeof EXPORT>;
export type DeviceStatus = Static<typeof DEVICE>;
export type QueueStatus = Static<typeof QUEUE>;
export type KernelStatus = Static<typeof KERNEL>;
export type LayerStatus = Static<typeof LAYER>;
export type InstrumentStatus = Static<typeof INSTRUMENT>;
export type MirrorStatus = Static<typeof MIRROR>;
export type Condition = Static<typeof CONDITION>;
export type StackPhase = StackStatus["phase"];
export type DevicePhase = DeviceStatus["phase"];

/** The schema as it is published, draft 2020-12. */
export const PUBLISHED_STATUS_SCHEMA: Readonly<Record<string, unknown>> = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "StatusList",
  ...STATUS_LIST,
};
