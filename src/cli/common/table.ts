/** Tables without borders, aligned in columns: as kubectl prints them. */

import CliTable from "cli-table3";
import type { Colors } from "./terminal.js";

const NO_BORDER = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "   ",
} as const;

/**
 * @param head  column titles; an empty list prints rows only
 * @param rows  cells may hold colour codes: they do not count as width
 * @returns lines with a line end each and no blanks at their ends; nothing at all without head and rows
 */
export function renderTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  colors: Colors,
): string {
  const table = new CliTable({
    chars: NO_BORDER,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [], compact: true },
  });
  if (head.length > 0) table.push(head.map((title) => colors.bold(title)));
  for (const row of rows) table.push([...row]);
  if (table.length === 0) return "";
  return table
    .toString()
    .split("\n")
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}
