/**
 * What reconcile saw of one stack, as far as planning needs it. Everything here was looked at, nothing remembered,
 * but `lastApplied`, which says what the data files hold.
 */

import type { Device, Table } from "../compile/table.js";

/**
 * absent    no device (ublk) or no socket (NBD)
 * added     the driver knows it, and it was never started
 * live      it serves
 * quiesced  the device is there and waits for a server
 * failed    the device is there and fails its IO
 */
export type DevicePhase = "absent" | "added" | "live" | "quiesced" | "failed";

/** running: answers, or is starting. dead: it was there and is gone. absent: none was started, or it was stopped. */
export type ServerState = "running" | "dead" | "absent";

export interface ObservedDevice {
  name: string;
  phase: DevicePhase;
  /** What its server was started with; null when nobody can tell. */
  table: Device | null;
  /** Absolute paths of its leaves by layer name, where known: a relative path moves with the folder of the file. */
  paths?: Readonly<Record<string, string>>;
  server: ServerState;
  /** Whether somebody outside of this stack has it open: a mount, a program, an NBD client. */
  inUse: boolean;
  /** The N of /dev/ublkbN; null for NBD, or when there is none. */
  id: number | null;
  /** Whether this controller watches its server already. */
  adopted: boolean;
}

export interface Observed {
  devices: ObservedDevice[];
  /** By layer name, for the leaves of the desired table; a leaf that is not listed counts as present. */
  leaves: ReadonlyMap<string, "present" | "missing">;
  /** What the data files hold, from the stack's state; null for a stack that was never applied. */
  lastApplied: Table | null;
  /** Members that are dropped or still being copied, by the mirror's layer name. */
  notCurrent: ReadonlyMap<string, readonly string[]>;
}

/** A stack of which nothing is there. */
export const NOTHING_OBSERVED: Observed = {
  devices: [],
  leaves: new Map(),
  lastApplied: null,
  notCurrent: new Map(),
};
