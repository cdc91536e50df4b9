/** Lines of a stack's log as text for people. Pure. */

import type { LogLine } from "../../reconcile/logs.js";
import type { Colors } from "../common/terminal.js";
import { clean } from "./clean.js";

/** Said by the words before or after the message, or of no use to people. */
const SHOWN_ELSEWHERE = new Set(["time", "level", "msg", "stack", "device", "layer", "pid", "hostname"]);
const MAX_TIME_MS = 8.64e15;
function levelText(level: number, { red, yellow, dim }: Colors): string {
  if (level >= 50) return red("error");
  if (level >= 40) return yellow("warn ");
  return dim(level >= 30 ? "info " : "debug");
}

function fieldText(value: unknown): string {
  return typeof value === "string" && !/[\s"]/.test(value) ? value : JSON.stringify(value);
}

/** `2026-01-31T08:00:00.123Z error safe/d0: write failed errno=EIO offset=4096` */
export function renderLogLine(line: LogLine, colors: Colors): string {
  const { dim, cyan } = colors;
  const known = Number.isFinite(line.time) && line.time > 0 && line.time <= MAX_TIME_MS;
  const subject = [line.device, line.layer].filter((part) => part !== undefined && part !== "").join("/");
  const fields = Object.entries(line)
    .filter(([key, value]) => !SHOWN_ELSEWHERE.has(key) && value !== undefined && value !== null)
    .map(([key, value]) => `${dim(`${clean(key)}=`)}${clean(fieldText(value))}`);
  return [
    known ? dim(new Date(line.time).toISOString()) : "",
    levelText(line.level, colors),
    subject === "" ? "" : `${cyan(clean(subject))}:`,
    clean(String(line.msg)),
    ...fields,
  ]
    .filter((part) => part !== "")
    .join(" ");
}
