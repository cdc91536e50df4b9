/** What the virtual machine's benchmarks compare: stacks of ours over the guest's null_blk devices, and the kernel's own. */
import { plainMedia } from "../layers/media.js";
import { serverConfig } from "./server-config.js";

export type Engine = "native" | "uring-bpf";
export type Poll = "off" | "on" | "auto";

/** The guest's null_blk devices, 2 GiB each, neither keep nor clear data: what is seen is the way there. */
const NULLB_MEDIA = plainMedia(true, 2 ** 31);
const block = (path: string) => ({ block: { path } });
/** An instrument that is switched off, and one that looks at a range in which the jobs do nothing. */
const off = (base: object) => ({ error: { base, probability: 0 } });
const miss = (base: object) => ({ error: { base, start: "768MiB" } });
const nullb = (...indexes: number[]) => indexes.map((index) => block(`/dev/nullb${index}`));

/** Layers of each server, bottom up; the exported layer is called top. A server's device is /dev/ublkb and its place. */
export const STACKS = {
  null: [{ top: { null: { size: "1GiB" } } }],
  block: [{ top: block("/dev/nullb0") }],
  stripe: [{ top: { stripe: { chunk: "64KiB", members: nullb(0, 1, 2, 3) } } }],
  mirror: [{ top: { mirror: { members: nullb(0, 1) } } }],
  "three-fused": [
    {
      top: {
        linear: {
          members: [
            {
              stripe: {
                chunk: "64KiB",
                members: nullb(0, 1).map((member) => ({ linear: { members: [member] } })),
              },
            },
          ],
        },
      },
    },
  ],
  "null-off": [{ top: off({ null: { size: "1GiB" } }) }],
  "null-miss": [{ top: miss({ null: { size: "1GiB" } }) }],
  "block-off": [{ top: off(block("/dev/nullb0")) }],
  "block-miss": [{ top: miss(block("/dev/nullb0")) }],
  "three-layered": [
    { top: block("/dev/nullb0") },
    { top: { linear: { members: [block("/dev/ublkb0")] } } },
    { top: { linear: { members: [block("/dev/ublkb1")] } } },
  ],
} as const satisfies Record<string, readonly object[]>;
export type StackName = keyof typeof STACKS;

/** Devices of the kernel for the same jobs, by what measure.sh calls them. */
export type KernelName = "null-blk" | "loop" | "dm-stripe" | "md-raid1";

/** config.json of each server of a stack, bottom up; `name` is the contender's, as measure.sh knows it. */
export function serverConfigs(
  name: string,
  stack: StackName,
  engine: Engine,
  poll: Poll,
  queues = 1,
): object[] {
  return STACKS[stack].map((layers, id) => {
    const spec = { layers, exports: { data: { layer: "top", frontend: "ublk", ublk: { queues } } } };
    const config = serverConfig(`${name}-${id}`, spec, {
      runDir: `/run/bench/${name}/${id}`,
      media: NULLB_MEDIA,
    });
    const tag = `554200000000000${id}`; // each server's own, or one would take the other's device for its predecessor's
    return {
      runtime: { ...config.runtime, tag },
      table: { ...config.table, ublk: { ...config.table.ublk, id, engine, poll } },
    };
  });
}
