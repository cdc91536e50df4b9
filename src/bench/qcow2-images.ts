/** The images that are measured, all of them made by qemu-img. */
import { execFile } from "node:child_process";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Chain } from "./qcow2-contenders.js";

const run = promisify(execFile);

const BLOCK = 1 << 20;

export async function qemuImg(...args: string[]): Promise<void> {
  await run("qemu-img", args);
}

/** Half of it is noise, so that compressing it gains about that, and no cluster is like another one. */
async function noise(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, "w");
  const block = Buffer.alloc(BLOCK);
  let seed = 0x2545f491;
  for (let at = 0; at < sizeBytes; at += BLOCK) {
    for (let word = 0; word < BLOCK; word += 8) {
      seed ^= seed << 13;
      seed ^= seed >>> 17;
      seed ^= seed << 5;
      block.writeInt32LE(seed, word);
      block.writeUInt32LE(word >>> 9, word + 4);
    }
    await file.write(block, 0, BLOCK, at);
  }
  await file.close();
}

async function converted(folder: string, name: string, sizeBytes: number, args: string[]): Promise<Chain> {
  const [raw, image] = [join(folder, "source"), join(folder, `${name}.qcow2`)];
  await noise(raw, sizeBytes);
  await qemuImg("convert", "-f", "raw", "-O", "qcow2", "-t", "none", ...args, raw, image);
  await rm(raw);
  return [image];
}

/** Every cluster has its place. */
export const allocated = (folder: string, sizeBytes: number) => converted(folder, "allocated", sizeBytes, []);

export const compressed = (folder: string, sizeBytes: number, type: "zlib" | "zstd") =>
  converted(folder, type, sizeBytes, ["-c", "-o", `compression_type=${type}`]);

/** No cluster has. */
export async function empty(folder: string, sizeBytes: number): Promise<Chain> {
  const image = join(folder, "empty.qcow2");
  await rm(image, { force: true });
  await qemuImg("create", "-q", "-f", "qcow2", image, `${sizeBytes}`);
  return [image];
}

/** Nothing but holes above the last one, which has everything: the longest way there is. */
export async function overThreeBackingFiles(folder: string, sizeBytes: number): Promise<Chain> {
  const chain = [...(await converted(folder, "golden", sizeBytes, []))];
  for (const level of [2, 1, 0]) {
    const [backing = ""] = chain;
    const image = join(folder, `overlay-${level}.qcow2`);
    await qemuImg("create", "-q", "-f", "qcow2", "-b", backing, "-F", "qcow2", image);
    chain.unshift(image);
  }
  return chain;
}
