/** Images of every kind that qemu-img makes, for whoever reads them. */
import { writeFile } from "node:fs/promises";
import { type Images, KIB, qemuImg } from "./images.ts";

const MIXED = [
  "write -P 1 0 1M",
  "write -P 2 3M 100k",
  "write -P 3 5M 4k",
  "write -z 8M 1M",
  "write -z 5M 2k",
  "write -z -u 1M 128k",
  "discard 0 64k",
  "write -P 4 63M 1M",
];

/** Every feature of the format that qemu-img makes, by name. */
export const corpus = ({ path, create, io }: Images): Record<string, (name: string) => Promise<unknown>> => ({
  "64k": async (name) => [await create(name, ""), await io(name, ...MIXED)],
  ...Object.fromEntries(
    ["512", "1k", "4k", "2M"].map((size) => [
      `clusters of ${size}`,
      async (name: string) => [await create(name, `cluster_size=${size}`), await io(name, ...MIXED)],
    ]),
  ),
  ...Object.fromEntries(
    [1, 2, 4, 8, 32, 64].map((bits) => [
      `refcounts of ${bits} bits`,
      async (name: string) => [await create(name, `refcount_bits=${bits}`), await io(name, ...MIXED)],
    ]),
  ),
  ...Object.fromEntries(
    ["16k", "128k"].map((size) => [
      `extended entries, clusters of ${size}`,
      async (name: string) => [
        await create(name, `extended_l2=on,cluster_size=${size}`),
        await io(name, ...MIXED, "write -P 7 5M 1k", "write -P 8 63k 2k"),
      ],
    ]),
  ),
  "version 2": async (name) => [
    await create(name, "compat=0.10"),
    await io(name, "write -P 1 0 1M", "discard 0 64k"),
  ],
  "lazy refcounts": async (name) => [await create(name, "lazy_refcounts=on"), await io(name, ...MIXED)],
  "preallocated metadata": (name) => create(name, "preallocation=metadata", "8M"),
  "an external data file": async (name) => [
    await create(name, `data_file=${path(`${name}.data`)}`),
    await io(name, "write -P 1 0 1M", "write -P 2 3M 100k"),
  ],
  "a raw external data file": async (name) => [
    await create(name, `data_file=${path(`${name}.data`)},data_file_raw=on`),
    await io(name, "write -P 1 0 1M"),
  ],
  "a backing file": async (name) => [
    await create(`${name}.base`, ""),
    await io(`${name}.base`, ...MIXED),
    await create(name, "", "80M", "-b", path(`${name}.base`), "-F", "qcow2"),
    await io(name, "write -P 9 200k 8k", "write -z 8M 64k", "discard 3M 64k"),
  ],
  ...Object.fromEntries(
    ["zlib", "zstd"].map((type) => [
      `compressed by ${type}`,
      async (name: string) => {
        const text = Array.from({ length: 60_000 }, (_, i) => `line ${i} of it\n`).join("");
        await writeFile(path(`${name}.raw`), text.slice(0, 512 * KIB));
        await qemuImg(
          "convert",
          "-c",
          "-O",
          "qcow2",
          "-o",
          `compression_type=${type}`,
          path(`${name}.raw`),
          path(name),
        );
        await io(name, "write -P 5 70k 1k");
      },
    ]),
  ),
  "a snapshot whose table is the end of its file": async (name) => {
    await create(name, "cluster_size=16k", "2M");
    await io(name, "write -P 1 3k 40k");
    await qemuImg("snapshot", "-c", "one", path(name));
  },
  "snapshots and bitmaps": async (name) => {
    await create(name, "");
    await io(name, ...MIXED);
    await qemuImg("snapshot", "-c", "before", path(name));
    await io(name, "write -P 9 0 200k", "discard 3M 64k");
    await qemuImg("snapshot", "-c", "after", path(name));
    await io(name, "write -P 10 64k 64k");
    await qemuImg("bitmap", "--add", path(name), "changes");
    await io(name, "write -P 11 128k 64k");
  },
});
