/** What reconcile needs of the ublk driver. The real one is made of the addon (ublk-driver.ts); tests bring their own. */

export interface DriverDevice {
  readonly id: number;
  /** The kernel's word for its state. */
  readonly state: "dead" | "live" | "quiesced" | "fail-io";
  /** Owner tag, 16 hex digits: ublksrv_flags. */
  readonly tag: string;
}

export interface Driver {
  /** Whether a ublk driver answers. */
  available(): Promise<boolean>;
  /** Every device that the driver knows and we may see. */
  list(): Promise<DriverDevice[]>;
  /** Ends IO and the server's part of it. @throws StackError kernel-refused, device-in-use, timeout */
  stop(id: number, timeoutMs: number): Promise<void>;
  /** Removes the device; its server must have let go. @throws StackError kernel-refused, timeout */
  remove(id: number, timeoutMs: number): Promise<void>;
}

/** A host without ublk. */
export const NO_DRIVER: Driver = {
  available: () => Promise.resolve(false),
  list: () => Promise.resolve([]),
  stop: () => Promise.resolve(),
  remove: () => Promise.resolve(),
};
