/**
 * The table: what the compiler makes of one stack, and all that the server and the planner see of it.
 *
 *   Table ── devices, bottom-up: a device stands after every device that it opens
 *     └ Device ── one server process: one ublk device, or all NBD exports of the stack
 *         └ TableLayer[] ── flat and topological: a child's index is greater than its parent's
 *
 * The table is deterministic JSON: the same spec, media and host give the same bytes. Paths stay as they are
 * written in the file; whoever starts a server resolves them against the folder of the file.
 * Sizes and offsets are bytes everywhere.
 */

import type { Geometry } from "../layers/geometry.js";

export type { Geometry } from "../layers/geometry.js";

export interface TableLayer {
  /** The name in the file, or PARENT.INDEX for a layer written in place. */
  name: string;
  /** The layer type: the stem of its schema, its core header and its target. */
  type: string;
  sizeBytes: number;
  readOnly: boolean;
  /** Indexes into Device.layers, each greater than this layer's own. */
  children: number[];
  geometry: Geometry;
  /** What the layer's target needs, by the names of its own page in docs; sizes in bytes. */
  params: Record<string, string | number | boolean>;
}

export interface DeviceExport {
  /** The name under spec.exports, or null for a device that exists only because another one opens it. */
  name: string | null;
  /** Index into Device.layers. Always 0 for ublk. */
  root: number;
  readOnly: boolean;
}

export interface UblkSettings {
  /** 1 to 4096; the driver clamps it to the number of CPUs. */
  queues: number;
  /** 1 to 4096 requests in flight per queue. */
  depth: number;
  /** The N of /dev/ublkbN, or -1 to let the driver choose. */
  id: number;
  /** What the file asks for; the server says what is in effect. */
  engine: "auto" | "native" | "uring-bpf";
  poll: "auto" | "on" | "off";
}

export interface NbdSettings {
  /** Unix socket, or null for the default in the run directory. */
  socket: string | null;
  /** "HOST:PORT", or null: TCP only when the file asks for it. */
  tcp: string | null;
}

/** Who may open the export; the mode of device node or socket. */
export interface Access {
  owner: string | null;
  group: string | null;
  /** Octal text, "0600" by default. */
  mode: string;
}

export interface Device {
  /** The name of the root layer for ublk; NBD_DEVICE for the server of the stack's NBD exports. */
  name: string;
  frontend: "ublk" | "nbd";
  layers: TableLayer[];
  exports: DeviceExport[];
  ublk: UblkSettings | null;
  nbd: NbdSettings | null;
  access: Access;
  /** Names of the devices of this stack that this one opens: leaves of type block with params.device. */
  opens: string[];
}

/** No layer can have this name: layer names are DNS labels. */
export const NBD_DEVICE = "@nbd";

export interface Table {
  version: 1;
  stack: string;
  /** What is in effect, which differs from what the file asks for where layered cannot be had. */
  compose: "fused" | "layered";
  /** Bottom-up. */
  devices: Device[];
}
