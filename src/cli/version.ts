/** `ublk-stack version`: this program and the controller that runs. */

import { buildId, packageVersion } from "../reconcile/build-id.js";
import { openController } from "../reconcile/client.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { isStructured, printValue } from "./common/structured.js";

export async function run({ options, terminal }: Invocation): Promise<ExitStatus> {
  const client = { version: packageVersion(), build: buildId(), node: process.versions.node };
  const running = await openController({ start: "never" });
  const controller = running === null ? null : await running.version();
  if (isStructured(options.output)) {
    await printValue({ client, controller }, options.output, terminal.out);
    return 0;
  }
  terminal.out.line(`ublk-stack ${client.version} (build ${client.build}, Node ${client.node})`);
  terminal.out.line(
    controller === null
      ? "controller: none runs"
      : `controller ${controller.version} (build ${controller.build}, pid ${controller.pid})`,
  );
  return 0;
}
