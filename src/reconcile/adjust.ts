/** New settings for layers of a server that goes on running. */

import { isDeepStrictEqual } from "node:util";
import type { Device } from "../compile/table.js";
import { StackError } from "../errors.js";
import type { Channels } from "./channels.js";
import { configFile, readConfig } from "./server-config.js";
import { writeJson } from "./state-file.js";

const ANSWER_MS = 10_000;

/**
 * Tells a device's server the params of every layer that has others now, then writes them to its configuration, so that
 * its next worker starts with them. Repeated after a crash in between, it ends the same.
 * @throws StackError when the server does not answer or refuses
 */
export async function adjustServer(device: Device, runDir: string, channels: Channels): Promise<void> {
  const config = await readConfig(runDir);
  const channel = await channels.to(runDir);
  if (config === null || channel === null) {
    throw new StackError("server-died", `the server of "${device.name}" went before it could be told`);
  }
  const told: { layer: string; params: object }[] = [];
  for (const { name, params } of device.layers) {
    const before = config.table.layers.find((layer) => layer.name === name);
    if (isDeepStrictEqual(before?.params, params)) continue;
    const answer = (await channel.ask({ op: "set", layer: name, params }, ANSWER_MS)) as { error?: unknown };
    if (answer.error !== undefined) {
      // All layers or none: what the configuration says is what they have.
      for (const { layer, params } of told) await channel.ask({ op: "set", layer, params }, ANSWER_MS);
      const message = `layer "${name}" does not take its new settings: ${String(answer.error)}`;
      throw new StackError("not-set", message, { layer: name });
    }
    if (before !== undefined) told.unshift({ layer: name, params: before.params });
  }
  await writeJson(configFile(runDir), { ...config, table: device });
}
