/**
 * The only loader of the native addon. Its functions never block the thread of JavaScript: each does its work on
 * another one and returns a promise.
 */

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { StackError } from "./errors.js";

/** A ublk device as the driver describes it (struct ublksrv_ctrl_dev_info). */
export interface UblkDevice {
  /** The N of /dev/ublkbN. */
  readonly id: number;
  readonly state: "dead" | "live" | "quiesced" | "fail-io" | "unknown";
  /** ublksrv_flags, the server's own word: 16 hex digits. Ours hold the owner tag. */
  readonly tag: string;
  readonly queues: number;
  readonly depth: number;
  readonly maxIoBytes: number;
  /** The process that serves it, as seen from our process namespace. */
  readonly serverPid: number | null;
  /** UBLK_F_ names in force, without the prefix. */
  readonly flags: readonly string[];
}

export interface UringProbe {
  /** Names of the operations, ring features and ring set-ups that the data plane uses and this kernel has. */
  readonly supported: readonly string[];
  readonly missing: readonly string[];
}

/** What the header of a qcow2 image says. Names come from the image, and are to be believed as little as it is. */
export interface Qcow2Header {
  readonly kind: "qcow2";
  /** Of the guest's disk. Exact up to 8 PiB. */
  readonly sizeBytes: number;
  readonly version: 2 | 3;
  readonly clusterBytes: number;
  readonly refcountBits: number;
  readonly extendedL2: boolean;
  readonly compression: "zlib" | "zstd";
  readonly backing: { readonly name: string; readonly format: string | null } | null;
  /** null: none. Empty: the guest's data lie in another file, and the image does not say in which. */
  readonly dataFile: string | null;
  readonly dataFileRaw: boolean;
  readonly snapshots: number;
  /** Consistent ones: others are none. */
  readonly bitmaps: number;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly lazyRefcounts: boolean;
}

export type ImageHeader =
  | Qcow2Header
  /** It is qcow2, and cannot be served: the message says why, as a clause about "it". */
  | { readonly kind: "refused"; readonly message: string }
  /** The first and the last MiB are zeros, or the file is empty. */
  | { readonly kind: "blank" }
  | { readonly kind: "other" };

/** An open image, until imageClose() or the end of the process. */
export interface ImageHandle {
  readonly opaque: unique symbol;
}

export interface OpenImage {
  readonly handle: ImageHandle;
  readonly header: ImageHeader;
  /** Somebody writes to it. Else nobody of QEMU's or ours can, until it is closed. */
  readonly inUse: boolean;
  readonly fileBytes: number;
  /** What the file takes up on its own disk. */
  readonly diskBytes: number;
}

export interface ImageSnapshot {
  readonly id: string;
  readonly name: string;
  /** Of the guest's disk. */
  readonly sizeBytes: number;
  readonly vmStateBytes: number;
  /** Since 1970. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** How long the guest had run. */
  readonly guestSeconds: number;
  readonly guestNanoseconds: number;
  /** Instructions that the guest had run; null where they were not counted. */
  readonly icount: number | null;
}

export interface ImageBitmap {
  readonly name: string;
  readonly granularityBytes: number;
  /** It was not saved well, and may be outdated. */
  readonly inUse: boolean;
  /** Writes are to be recorded in it. */
  readonly auto: boolean;
}

export interface ImageDetails {
  readonly snapshots: readonly ImageSnapshot[];
  readonly bitmaps: readonly ImageBitmap[];
  /** Why a table of them cannot be read, as clauses about "it". */
  readonly refusals: readonly string[];
}

export interface ImageCheck {
  readonly corruptions: number;
  readonly leaks: number;
  readonly totalClusters: number;
  readonly allocatedClusters: number;
  readonly compressedClusters: number;
  readonly fragmentedClusters: number;
  /** Behind the last cluster in use. */
  readonly imageEndBytes: number;
  /** The first thousand. */
  readonly findings: readonly { readonly kind: "corruption" | "leak"; readonly message: string }[];
}

/** A part of the guest's disk that is of one kind. */
export interface ImageRun {
  readonly start: number;
  readonly length: number;
  readonly kind: "unallocated" | "zeros" | "data" | "compressed" | "bad";
  /** Bytes into the file that has the data, or is to have them; null where there is no such place. */
  readonly offset: number | null;
}

/** What became of an image that was made smaller. */
export interface ImageCompacted {
  readonly header: ImageHeader;
  /** It is broken, and was left as it is: why, as a clause about "it". Else null. */
  readonly refusal: string | null;
  /** Clusters that nobody had used. */
  readonly leaks: number;
  readonly zeroBytes: number;
  readonly movedBytes: number;
  readonly movedTableBytes: number;
  readonly fileBytes: { readonly before: number; readonly after: number };
  readonly diskBytes: { readonly before: number; readonly after: number };
}

export interface CompactProgress {
  /** What is looked for or moved: zeros, tables, the guest's clusters, holes. */
  readonly phase: "zeros" | "tables" | "clusters" | "holes";
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface Compacting {
  /**
   * Rejects with EAGAIN when somebody uses the image, EOPNOTSUPP when its data lie in another file, ECANCELED after stop();
   * whatever was done until then holds.
   */
  readonly done: Promise<ImageCompacted>;
  progress(): CompactProgress;
  stop(): void;
}

/** What a rejected promise of the addon holds. */
export interface NativeError extends Error {
  /** Name of the errno; ETIME: it did not end within the time given. */
  readonly code: string;
  /** The command in the kernel's words, as ADD_DEV, "open" for /dev/ublk-control, or the system call on a file. */
  readonly op: string;
}

export interface Native {
  /**
   * UBLK_F_ names that the driver knows, without the prefix; null before Linux 6.5, which cannot tell.
   * Rejects with ENOENT where there is no driver, EACCES or EPERM for plain users.
   */
  features(): Promise<readonly string[] | null>;
  /** null: no such device. */
  getDevInfo(id: number): Promise<UblkDevice | null>;
  /** All devices of the host, ascending by id. */
  listDevs(): Promise<readonly UblkDevice[]>;
  /** Waits for requests under way; the server then lets the device go. Rejects with ENODEV, ETIME. */
  stopDev(id: number, timeoutMs: number): Promise<void>;
  /** Waits until the server has closed /dev/ublkcN. Rejects with ENODEV, ETIME. */
  delDev(id: number, timeoutMs: number): Promise<void>;
  uringProbe(): Promise<UringProbe>;
  /**
   * Where requests go, by the mapping core itself: JSON in and out, as native/addon/map.h says. For tests: it does
   * its little work on the calling thread.
   */
  map(question: string): string;
  /**
   * Mounts a FUSE file system over a file; a plain user's mount needs fusermount3.
   * @returns its descriptor of /dev/fuse; what rejects has the code of its errno
   */
  fuseMount(path: string): Promise<number>;
  /**
   * What the file is, by its beginning. Opens nothing but `path`, which has to be a regular file or a block device, and
   * takes no lock. Rejects with the errno: EISDIR for a folder, ENOTBLK for what is no medium.
   */
  imageHeader(path: string): Promise<ImageHeader>;
  /** The same, and keeps the file open. Rejects as imageHeader() does. */
  imageOpen(path: string): Promise<OpenImage>;
  imageClose(image: ImageHandle): void;
  /** Of an image whose header is of kind qcow2, as the following. */
  imageDetails(image: ImageHandle): Promise<ImageDetails>;
  /** @param stop one word; rejects with ECANCELED soon after it was set to something else than 0 */
  imageCheck(image: ImageHandle, stop: Int32Array): Promise<ImageCheck>;
  /**
   * A part of the guest's disk, from an offset on, in order and without a gap.
   * @returns next: where the next part begins; sizeBytes at the end
   */
  imageMap(
    image: ImageHandle,
    from: number,
    stop: Int32Array,
  ): Promise<{ readonly runs: readonly ImageRun[]; readonly next: number }>;
  /**
   * Makes an image that nobody uses as small as it can be. Writes to `path`, and opens nothing else.
   * @param shorten whether a regular file may become shorter
   */
  imageCompact(path: string, shorten: boolean): Compacting;
}

const built = (file: string) => fileURLToPath(new URL(`../native/build/Release/${file}`, import.meta.url));

/** Absolute path of the server program, whether it has been built or not. */
export const serverProgram = (): string => built("ublk-stack-server");

let loaded: Native | undefined;

/** @throws StackError native-missing when the addon has not been built, or not for this Node */
export function loadNative(): Native {
  if (loaded !== undefined) return loaded;
  const path = built("ublk_stack.node");
  if (!existsSync(path)) {
    throw new StackError("native-missing", `${path} has not been built`, { path });
  }
  try {
    loaded = createRequire(import.meta.url)(path) as Native;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StackError("native-missing", `${path} cannot be loaded: ${reason}`, { path }, { cause: error });
  }
  return loaded;
}
