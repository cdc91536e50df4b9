/** What tests of the qcow2 library ask: its own tools, and QEMU's of the same files. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect } from "vitest";

export const run = promisify(execFile);
/** The folder of image-tool and the simulators. */
export const out = resolve(import.meta.dirname, "../../native/build/Qcow2");
export const KIB = 1024;
export const MIB = 1024 * KIB;

/** Builds the tools beside. */
export function useTools() {
  beforeAll(async () => {
    await run("bash", [resolve(import.meta.dirname, "build.sh")], { maxBuffer: 16 * MIB });
  }, 600_000);
  return useImages();
}

export type Images = ReturnType<typeof useImages>;

/** A folder for the images of this test file, and who makes them. */
export function useImages() {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "qcow2-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const path = (name: string) => join(folder, name);
  const create = (name: string, options: string, size = "64M", ...more: string[]) =>
    qemuImg("create", "-q", "-f", "qcow2", ...(options ? ["-o", options] : []), ...more, path(name), size);
  const io = (name: string, ...commands: string[]) =>
    run("qemu-io", ["-f", "qcow2", ...commands.flatMap((command) => ["-c", command]), path(name)]);
  /** A disk whose every sector is one number, sixty-four times, as the simulators want it. */
  const numbered = async (name: string, options: string, compress: boolean, bytes = 128 * KIB) => {
    const data = Buffer.alloc(bytes);
    for (let at = 0; at < data.length; at += 8) data.writeBigUInt64LE(BigInt(Math.floor(at / 512) + 1), at);
    await writeFile(path("numbered.raw"), data);
    const how = compress ? ["-c"] : [];
    await qemuImg("convert", ...how, "-O", "qcow2", "-o", options, path("numbered.raw"), path(name));
  };
  return { path, create, io, numbered };
}

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}
export const outcome = (program: string, args: string[]): Promise<Outcome> =>
  run(program, args, { maxBuffer: 256 * MIB }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ ...error, status: error.code }),
  );

/** What the library says; it may refuse an image, and does nothing worse. */
export async function ask(verb: "info" | "check" | "map" | "repair", file: string) {
  const { status, stdout, stderr } = await outcome(join(out, "image-tool"), [verb, file]);
  expect([0, 1], stderr).toContain(status);
  return JSON.parse(stdout);
}
export const qemuImg = async (...args: string[]) => (await run("qemu-img", args)).stdout;
