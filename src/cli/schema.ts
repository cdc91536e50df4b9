/** `ublk-stack schema`: the published contract of stack files, for editors and for programs. */

import { STACK_SCHEMA } from "../spec/index.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { printValue } from "./common/structured.js";

export async function run({ terminal }: Invocation): Promise<ExitStatus> {
  await printValue(STACK_SCHEMA, "json", terminal.out);
  return 0;
}
