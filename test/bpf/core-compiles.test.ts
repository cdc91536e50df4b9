/** The mapping core is one source for all engines: here it is compiled for the kernel's BPF, with every warning an error. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, it } from "vitest";

const native = resolve(import.meta.dirname, "../../native");
const folder = mkdtempSync(join(tmpdir(), "core-bpf-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What a BPF engine does with the core: tables and live words in maps, one walk, its pieces counted. */
const PROGRAM = `
#include "core/walk.h"

struct us_table table;
struct us_live live;
struct us_words words;
struct us_walk walk;
unsigned long long bytes;

__attribute__((section("syscall"), used)) int run(struct { us_u32 root, op; us_u64 offset, length; } *asked) {
    struct us_piece piece;
    us_walk_begin(&walk, asked->root, asked->op, asked->offset, asked->length);
    for (int i = 0; i < 64; i++) {
        enum us_walk_result result = us_walk_next(&walk, &table, &live, &words, &piece);
        if (result != US_WALK_PIECE) return result;
        bytes += piece.length;
    }
    return US_WALK_BAD;
}

char _license[] __attribute__((section("license"), used)) = "Dual MIT/GPL";
`;

it("compiles as BPF without a warning", () => {
  const source = join(folder, "walk.bpf.c");
  const object = join(folder, "walk.bpf.o");
  writeFileSync(source, PROGRAM);
  execFileSync(
    "clang",
    [
      ...["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11"],
      ...["-Wall", "-Wextra", "-Werror", "-I", native, "-c", source, "-o", object],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const elf = readFileSync(object);
  expect(elf.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
  expect(elf.readUInt16LE(18)).toBe(247); // EM_BPF
  // All of it is one function: nothing was left as a call that the verifier would refuse.
  expect(symbols(elf).filter(({ kind }) => kind === 2)).toEqual([{ name: "run", kind: 2 }]);
});

/** What each program must hold, by section: libbpf tells by these names what it is. */
const SECTIONS = {
  loop: ["struct_ops.s/loop_step", ".struct_ops.link"],
  ublk: ["struct_ops.s/queue_io_cmd_daemon", "struct_ops/bpf_aio_complete_cb", ".struct_ops.link"],
  walk: ["syscall"],
};

it.each(Object.entries(SECTIONS))("compiles %s.bpf.c without a warning", (name, sections) => {
  execFileSync("bash", [join(native, "bpf/compile.sh"), name, join(folder, `${name}_object.h`)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const elf = readFileSync(join(folder, `${name}_object.o`));
  expect(elf.readUInt16LE(18)).toBe(247);
  const text = elf.toString("latin1");
  for (const section of [...sections, ".BTF", "license"]) expect(text).toContain(`${section}\0`);
});

/** Symbols of a little-endian ELF64 file, by name and kind (2: a function). */
function symbols(elf: Buffer): { name: string; kind: number }[] {
  const sections = Number(elf.readBigUInt64LE(40));
  const header = (index: number) => sections + index * elf.readUInt16LE(58);
  const span = (index: number) => {
    const start = Number(elf.readBigUInt64LE(header(index) + 24));
    return elf.subarray(start, start + Number(elf.readBigUInt64LE(header(index) + 32)));
  };
  const count = elf.readUInt16LE(60);
  const table = Array.from({ length: count }, (_, index) => index).find(
    (index) => elf.readUInt32LE(header(index) + 4) === 2,
  );
  if (table === undefined) throw new Error("no symbols");
  const names = span(elf.readUInt32LE(header(table) + 40));
  const entries = span(table);
  return Array.from({ length: entries.length / 24 }, (_, index) => {
    const at = entries.readUInt32LE(index * 24);
    const name = names.subarray(at, names.indexOf(0, at)).toString("latin1");
    return { name, kind: entries.readUInt8(index * 24 + 4) & 15 };
  });
}
