/** What only the addon can ask the kernel: the driver's features and devices, and io_uring. */

import { existsSync, readdirSync } from "node:fs";
import { loadNative, type Native, type UblkDevice as NativeDevice, serverProgram } from "../../native.js";
import { deviceRunDir, type Paths, stackRunDir } from "../../reconcile/paths.js";
import { readConfig } from "../../reconcile/server-config.js";
import { appliedStackNames } from "../common/stack-names.js";
import type { Answer, HostFacts, UblkDevice } from "./facts.js";

export interface NativeFacts {
  readonly built: Answer<true>;
  readonly features: HostFacts["ublk"]["features"];
  readonly devices: HostFacts["ublk"]["devices"];
  readonly uring: HostFacts["uring"]["probe"];
}

/** The first 16 bits of the tag that our servers put into ublksrv_flags. */
const OUR_TAGS = /^5542/i;

const unknown = (why: string): { known: false; why: string } => ({ known: false, why });
const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function ask<T>(question: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { known: true, value: await question() };
  } catch (error) {
    return unknown(reason(error));
  }
}

/** Owner tags of the devices that this user's stacks were started with → "STACK/DEVICE". */
async function tagsOfStacks(paths: Paths, stacks: readonly string[]): Promise<Map<string, string>> {
  const tags = new Map<string, string>();
  for (const stack of stacks) {
    const folder = stackRunDir(paths, stack);
    for (const device of existsSync(folder) ? readdirSync(folder) : []) {
      const config = await readConfig(deviceRunDir(paths, stack, device));
      if (config !== null) tags.set(config.runtime.tag.toLowerCase(), `${stack}/${device}`);
    }
  }
  return tags;
}

function toDevice(
  { id, state, serverPid, tag }: NativeDevice,
  tags: ReadonlyMap<string, string>,
): UblkDevice {
  return { id, state, serverPid, ours: OUR_TAGS.test(tag), stack: tags.get(tag.toLowerCase()) ?? null };
}

/** Never throws: a host without driver, addon or permission is what doctor is there for. */
export async function askNative(paths: Paths, env: NodeJS.ProcessEnv): Promise<NativeFacts> {
  let native: Native;
  try {
    native = loadNative();
  } catch (error) {
    const why = reason(error);
    return { built: unknown(why), features: unknown(why), devices: unknown(why), uring: unknown(why) };
  }
  const features = await ask(() => native.features());
  const uring = await ask(() => native.uringProbe());
  return {
    built: existsSync(serverProgram())
      ? { known: true, value: true }
      : unknown(`${serverProgram()} has not been built`),
    features:
      features.known && features.value === null
        ? unknown("this kernel cannot tell (before Linux 6.5)")
        : (features as Answer<readonly string[]>),
    devices: await ask(async () => {
      const tags = await tagsOfStacks(paths, await appliedStackNames(env));
      return (await native.listDevs()).map((device) => toDevice(device, tags));
    }),
    uring: uring.known
      ? { known: true, value: { have: uring.value.supported, lack: uring.value.missing } }
      : uring,
  };
}
