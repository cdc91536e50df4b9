/**
 * A program that rewrites the pages of files in place for a long time, as a database does, without a kernel's file
 * system: it asks debugfs where the files' blocks are. After each round a file's time of change is set, as its file
 * system would have done. Arguments: the disk, how many files, bytes to write, how many rounds.
 */

import { spawnSync } from "node:child_process";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { randomAt } from "../crash/model/random.js";

const BLOCK_BYTES = 4096;
const PAGE_BLOCKS = 4;
/** So many pages between two flushes. */
const GROUP = 16;

function debugfs(disk: string, request: string, ...options: string[]): string {
  const { status, stdout, stderr } = spawnSync("debugfs", [...options, "-R", request, disk], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`debugfs ${request}: ${stderr}`);
  return stdout;
}

/** The first blocks of pages that are in one piece on the disk. */
function pagesOf(disk: string, file: string): number[] {
  const blocks = debugfs(disk, `blocks ${file}`).trim().split(/\s+/).map(Number);
  const pages: number[] = [];
  for (let at = 0; at + PAGE_BLOCKS <= blocks.length; at += PAGE_BLOCKS) {
    const first = blocks[at] ?? 0;
    if (blocks[at + PAGE_BLOCKS - 1] === first + PAGE_BLOCKS - 1) pages.push(first);
  }
  return pages;
}

function main([disk = "", files = "1", bytes = "0", rounds = "1"]: readonly string[]): void {
  const random = randomAt(1, 0);
  const names = Array.from({ length: Number(files) }, (_, number) => `/file-${number}`);
  const pages = names.flatMap((name) => pagesOf(disk, name));
  const data = Buffer.alloc(PAGE_BLOCKS * BLOCK_BYTES);
  const each = Math.floor(Number(bytes) / data.length / Number(rounds));
  for (let round = 0; round < Number(rounds); round++) {
    const fd = openSync(disk, "r+");
    for (let done = 1; done <= each; done++) {
      for (let at = 0; at < data.length; at += 4) data.writeInt32LE(random(2 ** 31), at);
      writeSync(fd, data, 0, data.length, (pages[random(pages.length)] ?? 0) * BLOCK_BYTES);
      if (done % GROUP === 0) fsyncSync(fd);
    }
    fsyncSync(fd);
    closeSync(fd);
    debugfs(disk, `sif ${names[round % names.length]} mtime @${1_800_000_000 + round}`, "-w");
  }
}

main(process.argv.slice(2));
