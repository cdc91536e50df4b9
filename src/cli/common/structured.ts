/** `-o json` and `-o yaml`: values for programs. */

import type { Sink } from "./terminal.js";

/** Whether the format is one of those that print a value instead of prose. */
export function isStructured(format: string | undefined): format is "json" | "yaml" {
  return format === "json" || format === "yaml";
}

/** Prints a plain value; the same value in both formats. */
export async function printValue(value: unknown, format: "json" | "yaml", sink: Sink): Promise<void> {
  if (format === "json") {
    sink.line(JSON.stringify(value, null, 2));
    return;
  }
  const { stringify } = await import("yaml");
  // Through JSON, so that both formats leave out what is undefined and no anchors appear.
  sink.write(stringify(JSON.parse(JSON.stringify(value)), { aliasDuplicateObjects: false, lineWidth: 0 }));
}
