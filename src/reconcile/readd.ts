/** Taking dropped mirror members back: their servers copy them in full. */

import { StackError } from "../errors.js";
import type { StackEntry } from "./stack-entry.js";

/** @returns how many members came back. @throws StackError when a server refuses */
export async function readdDropped(entry: StackEntry): Promise<number> {
  const { mirrors } = (await entry.status()).status;
  const dropped = mirrors.flatMap(({ device, layer, members }) =>
    members.flatMap((member) => (member.state === "dropped" ? [{ device, layer, member: member.name }] : [])),
  );
  for (const { device, layer, member } of dropped) {
    const answer = (await entry.runner.ask(device, { op: "readd", layer, member })) as { error?: unknown };
    if (answer.error !== undefined) {
      const message = `mirror "${layer}" does not take member "${member}" back: ${String(answer.error)}`;
      throw new StackError("member-dropped", message, { stack: entry.name, layer, member });
    }
  }
  return dropped.length;
}
