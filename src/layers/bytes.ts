const UNITS = [
  ["TiB", 1024 ** 4],
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
] as const;

/** A size as the file would say it, exactly: the largest unit that divides it, else plain bytes ("1000 bytes"). */
export function exactBytes(bytes: number): string {
  for (const [unit, size] of UNITS) {
    if (bytes !== 0 && bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return bytes === 1 ? "1 byte" : `${bytes} bytes`;
}
