/**
 * Finds structures by name in the kernel's type information (BTF; Documentation/bpf/btf.rst of the kernel):
 *
 *   header: u16 magic 0xeb9f, u8 version, u8 flags, u32 hdr_len, type_off, type_len, str_off, str_len
 *   types:  u32 name_off, u32 info (kind in bits 24-28, vlen in bits 0-15), u32 size_or_type, then what the kind adds
 */

const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
const TYPE_BYTES = 12;
const KIND_STRUCT = 4;

/** Bytes that follow the three words of a type, by kind: fixed, and per element (vlen). */
const TRAILERS: Readonly<Record<number, readonly [fixed: number, each: number]>> = {
  1: [4, 0], // INT
  3: [12, 0], // ARRAY
  4: [0, 12], // STRUCT
  5: [0, 12], // UNION
  6: [0, 8], // ENUM
  13: [0, 8], // FUNC_PROTO
  14: [4, 0], // VAR
  15: [0, 12], // DATASEC
  17: [4, 0], // DECL_TAG
  19: [0, 12], // ENUM64
};

/**
 * @param content of /sys/kernel/btf/vmlinux, little endian
 * @returns those of `wanted` that are structures there; empty for what is no BTF
 */
export function parseBtfStructs(content: Buffer, wanted: readonly string[]): Set<string> {
  const found = new Set<string>();
  if (content.length < HEADER_BYTES || content.readUInt16LE(0) !== MAGIC) return found;
  const headerBytes = content.readUInt32LE(4);
  const types = headerBytes + content.readUInt32LE(8);
  const typesEnd = types + content.readUInt32LE(12);
  const strings = headerBytes + content.readUInt32LE(16);
  const offsets = new Map<number, string>();
  for (const name of wanted) {
    const at = content.indexOf(`\0${name}\0`, strings);
    if (at >= 0) offsets.set(at + 1 - strings, name);
  }
  for (let at = types; offsets.size > found.size && at + TYPE_BYTES <= typesEnd; ) {
    const info = content.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 0x1f;
    const [fixed, each] = TRAILERS[kind] ?? [0, 0];
    const name = kind === KIND_STRUCT ? offsets.get(content.readUInt32LE(at)) : undefined;
    if (name !== undefined) found.add(name);
    at += TYPE_BYTES + fixed + each * (info & 0xffff);
  }
  return found;
}
