/** `ublk-stack controller run|stop`. */

import { openController } from "../reconcile/client.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";

async function stop({ terminal }: Invocation): Promise<ExitStatus> {
  const client = await openController({ start: "never" });
  if (client === null) {
    terminal.err.line("No controller runs.");
    return 0;
  }
  const { pid } = await client.stop();
  terminal.out.line(`controller ${pid} stopped; its servers go on`);
  return 0;
}

async function serve({ options, terminal }: Invocation): Promise<ExitStatus> {
  const { runController } = await import("../reconcile/run-controller.js");
  const ran = await runController({ stay: options.stay === true });
  if (!ran) terminal.err.line("A controller of this build runs already.");
  return 0;
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  return invocation.args[0] === "stop" ? await stop(invocation) : await serve(invocation);
}
