import { formatSize } from "../spec/size.js";

/** A size for a sentence, exactly: as the file would say it where a unit fits ("64KiB"), else "1000 bytes". */
export function exactBytes(bytes: number): string {
  const size = formatSize(bytes);
  if (!/^[0-9]+$/.test(size)) return size;
  return bytes === 1 ? "1 byte" : `${size} bytes`;
}

/** What a file comes to that nobody bounds: far beyond every file system of today, and offsets in it are exact. */
export const UNBOUNDED_BYTES = 2 ** 52;

/** The size of what has one, or of what grows to it at most. */
export function sizeWords(
  bytes: number,
  grows: boolean,
  words: (bytes: number) => string = exactBytes,
): string {
  if (!grows) return words(bytes);
  return bytes === UNBOUNDED_BYTES ? "grows" : `grows to ${words(bytes)}`;
}
