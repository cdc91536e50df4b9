/** Sizes as the file writes them: whole numbers of bytes, or with a binary unit. */

import type { Size } from "./spec.gen.js";

const UNITS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;
const SIZE = /^([1-9][0-9]*)(KiB|MiB|GiB|TiB)$/;

/** @returns bytes, 1 to 2^53 - 1, or null if this is no size or a larger one */
export function parseSize(size: Size): number | null {
  if (typeof size === "number") return Number.isSafeInteger(size) && size > 0 ? size : null;
  const match = SIZE.exec(size);
  if (match === null) return null;
  const bytes = Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** The shortest exact way to write a number of bytes in the file: 65536 is 64KiB, 1000 is 1000. */
export function formatSize(bytes: number): string {
  const unit = Object.entries(UNITS).findLast(([, scale]) => bytes >= scale && bytes % scale === 0);
  return unit === undefined ? String(bytes) : `${bytes / unit[1]}${unit[0]}`;
}

/** What a text that is no size was probably meant to be: 64k, 64 KB, 0.5GiB, "4096". */
export function nearestSize(text: string): string | undefined {
  const match = /^\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b?|bytes?)\s*$/i.exec(text);
  if (match === null) return undefined;
  const letter = (match[2] ?? "").toUpperCase();
  const scale = letter === "" ? 1 : UNITS[`${letter}iB` as keyof typeof UNITS];
  const bytes = Number((match[1] ?? "").replaceAll("_", "")) * scale;
  return Number.isSafeInteger(bytes) && bytes > 0 ? formatSize(bytes) : undefined;
}
