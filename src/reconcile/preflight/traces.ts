/** The files of durations that delay layers go by: checked here, where they can be mended, and read by the server. */

import { readFile } from "node:fs/promises";
import { optionPath } from "../../layers/kind.js";
import { parseDuration } from "../../spec/duration.js";
import type { Finding, LayerSpecOf } from "../../spec/index.js";
import type { Duration } from "../../spec/spec.gen.js";
import { lookAt } from "./look.js";

/** As the server has it: targets/delay/durations.cc. */
const TRACE_BYTES_MAX = 16 * 2 ** 20;

/** @param path absolute */
export async function traceFindings(layer: LayerSpecOf<"delay">, path: string): Promise<Finding[]> {
  const trouble = await troubleOf(path);
  if (trouble === null) return [];
  return [
    {
      path: optionPath(layer, "trace"),
      at: "value",
      severity: "error",
      ...trouble,
      message: `trace "${layer.options.trace}" of layer "${layer.name}" ${trouble.message}`,
    },
  ];
}

type Trouble = Pick<Finding, "code" | "message" | "expected">;

async function troubleOf(path: string): Promise<Trouble | null> {
  const look = await lookAt(path);
  if (look.state === "missing") return { code: "path-missing", message: "does not exist" };
  if (look.state === "obstructed")
    return { code: "path-missing", message: `cannot be reached: ${look.message}` };
  if (look.kind !== "file") return { code: "not-a-file", message: `is a ${look.kind}`, expected: "a file" };
  if (look.sizeBytes > TRACE_BYTES_MAX)
    return { code: "out-of-range", message: "is too long", expected: "16 MiB at most" };
  try {
    return troubleIn(await readFile(path, "utf8"));
  } catch (error) {
    const { code = "EIO" } = error as NodeJS.ErrnoException;
    return { code: "permission-denied", message: `cannot be read: ${code}` };
  }
}

function troubleIn(text: string): Trouble | null {
  const lines = text.split("\n").map((line) => line.replace(/#.*/, "").replace(/^[ \t\r]+|[ \t\r]+$/g, ""));
  const expected = "durations such as 5ms, one a line";
  const wrong = lines.findIndex((line) => line !== "" && parseDuration(line as Duration) === null);
  if (wrong >= 0) return { code: "bad-value", message: `says no duration on line ${wrong + 1}`, expected };
  return lines.every((line) => line === "")
    ? { code: "bad-value", message: "holds no duration", expected }
    : null;
}
