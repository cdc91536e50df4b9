/** What sysfs and procfs tell about block devices: their limits, and who has them. */

import { readdir, readFile, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Media } from "../../compile/media.js";
import { readIfThere } from "../state-file.js";

/** Roots of the kernel's file systems, so that tests can bring their own. */
export interface KernelFolders {
  readonly sys: string;
  readonly proc: string;
}

export const KERNEL_FOLDERS: KernelFolders = { sys: "/sys", proc: "/proc" };

const SECTOR_BYTES = 512;

/** Linux's encoding of a device number in 64 bits, as stat returns it. */
export function majorMinor(device: number): string {
  const number = BigInt(device);
  const major = ((number >> 32n) & 0xfffff000n) | ((number >> 8n) & 0xfffn);
  const minor = ((number >> 12n) & 0xffffff00n) | (number & 0xffn);
  return `${major}:${minor}`;
}

/** The device's folder in sysfs, or null when the kernel has no block device of that number. */
export async function sysfsFolder(majorMinor: string, { sys }: KernelFolders): Promise<string | null> {
  try {
    return await realpath(join(sys, "dev/block", majorMinor));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** A partition has its limits in the folder of its disk. */
async function queueFolder(folder: string): Promise<string> {
  const isPartition = (await readIfThere(join(folder, "partition"))) !== undefined;
  return join(isPartition ? dirname(folder) : folder, "queue");
}

async function number(path: string): Promise<number> {
  const value = Number.parseInt((await readIfThere(path)) ?? "0", 10);
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
}

/** The queue limits of a device as they stack upwards; sizes in bytes. */
export async function blockMedia(folder: string): Promise<Media> {
  const queue = await queueFolder(folder);
  const limit = (name: string) => number(join(queue, name));
  const logicalBlockBytes = (await limit("logical_block_size")) || SECTOR_BYTES;
  const maxWriteZeroesBytes = await limit("write_zeroes_max_bytes");
  return {
    exists: true,
    sizeBytes: (await number(join(folder, "size"))) * SECTOR_BYTES,
    logicalBlockBytes,
    physicalBlockBytes: (await limit("physical_block_size")) || logicalBlockBytes,
    ioMinBytes: (await limit("minimum_io_size")) || logicalBlockBytes,
    ioOptBytes: await limit("optimal_io_size"),
    discardGranularityBytes: await limit("discard_granularity"),
    // Discarded ranges read as zeros with us, which the kernel promises only for zeroing with unmap.
    maxDiscardBytes: maxWriteZeroesBytes === 0 ? 0 : await limit("discard_max_bytes"),
    maxWriteZeroesBytes,
    volatileCache: (await readIfThere(join(queue, "write_cache")))?.trim() === "write back",
    fua: (await limit("fua")) === 1,
    rotational: (await limit("rotational")) === 1,
  };
}

/** The logical block size below a file system, or 512 for those that stand on no disk (tmpfs, network, overlay). */
export async function blockSizeBelow(device: number, folders: KernelFolders): Promise<number> {
  const folder = await sysfsFolder(majorMinor(device), folders);
  if (folder === null) return SECTOR_BYTES;
  return (await number(join(await queueFolder(folder), "logical_block_size"))) || SECTOR_BYTES;
}

/** Whether the kernel lets nobody write to the device. */
export async function isReadOnlyDevice(folder: string): Promise<boolean> {
  return (await number(join(folder, "ro"))) === 1;
}

/**
 * Who has a block device or one of its partitions, as far as the kernel tells: mounts, swap, other block devices.
 * @returns words such as `mounted at /mnt`; null when nobody is known to
 */
export async function holderOf(folder: string, folders: KernelFolders): Promise<string | null> {
  // The folder of a disk holds files, too, and a path through a file is an error of its own (ENOTDIR).
  const names = (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
  const partitions: string[] = [];
  for (const name of names) {
    if ((await readIfThere(join(folder, name, "partition"))) !== undefined)
      partitions.push(join(folder, name));
  }
  for (const device of [folder, ...partitions]) {
    const holders = names.includes("holders") ? await readdir(join(device, "holders")) : [];
    if (holders[0] !== undefined) return `used by /dev/${holders[0]}`;
    const numbers = (await readIfThere(join(device, "dev")))?.trim();
    const mount = numbers === undefined ? undefined : await mountOf(numbers, folders);
    if (mount !== undefined) return `mounted at ${mount}`;
    if (await isSwap(`/dev/${basename(device)}`, folders)) return "used as swap";
  }
  return null;
}

async function mountOf(majorMinor: string, { proc }: KernelFolders): Promise<string | undefined> {
  const lines = (await readFile(join(proc, "self/mountinfo"), "utf8")).split("\n");
  const fields = lines.map((line) => line.split(" ")).find((line) => line[2] === majorMinor);
  return fields?.[4]?.replace(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

async function isSwap(device: string, { proc }: KernelFolders): Promise<boolean> {
  const swaps = (await readIfThere(join(proc, "swaps"))) ?? "";
  return swaps.split("\n").some((line) => line.startsWith(`${device} `));
}

/** The loop device that a file stands behind, if any. */
export async function loopOf(path: string, { sys }: KernelFolders): Promise<string | null> {
  const blocks = await readdir(join(sys, "block")).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of blocks) {
    if (!name.startsWith("loop")) continue;
    const backing = await readIfThere(join(sys, "block", name, "loop/backing_file"));
    if (backing?.replace(/\n$/, "") === path) return `/dev/${name}`;
  }
  return null;
}
