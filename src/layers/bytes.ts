import { formatSize } from "../spec/size.js";

/** A size for a sentence, exactly: as the file would say it where a unit fits ("64KiB"), else "1000 bytes". */
export function exactBytes(bytes: number): string {
  const size = formatSize(bytes);
  if (!/^[0-9]+$/.test(size)) return size;
  return bytes === 1 ? "1 byte" : `${size} bytes`;
}
