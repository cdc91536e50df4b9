/** What the virtual machine's benchmarks compare: stacks of ours over the guest's null_blk devices, and the kernel's own. */
import { plainMedia } from "../layers/media.js";
import { serverConfig } from "./server-config.js";

export type Engine = "native" | "uring-bpf";
export type Poll = "off" | "on" | "auto";

/** The guest's null_blk devices, 2 GiB each, neither keep nor clear data: what is seen is the way there. */
const NULLB_MEDIA = plainMedia(true, 2 ** 31);
const block = (path: string) => ({ block: { path } });
const nullb = (...indexes: number[]) => indexes.map((index) => block(`/dev/nullb${index}`));

/** Each instrument switched off, or looking at a range in which the jobs do nothing: all of them let everything pass. */
const FAR = "768MiB";
const PASSING = {
  "delay-off": (base: object) => ({ delay: { base } }),
  "error-off": (base: object) => ({ error: { base, probability: 0 } }),
  "error-miss": (base: object) => ({ error: { base, start: FAR } }),
  "flakey-off": (base: object) => ({ flakey: { base } }),
  "flakey-miss": (base: object) => ({
    flakey: { base, dropWrites: { start: FAR }, corruptReads: { start: FAR } },
  }),
  "badblocks-off": (base: object) => ({ badblocks: { base } }),
  "throttle-off": (base: object) => ({ throttle: { base } }),
  "readonly-off": (base: object) => ({ readonly: { base, enabled: false } }),
  "logwrites-off": (base: object) => ({
    logwrites: { base, log: block("/dev/nullb3"), record: false },
  }),
  partition: (base: object) => ({ partition: { base, size: "1GiB" } }),
} as const;
type Passing = keyof typeof PASSING;

/** Over a base that does nothing, where a layer's cost is the most; and, of those that see bytes, over one that moves them. */
const OVER = {
  null: [
    "delay-off",
    "error-off",
    "error-miss",
    "flakey-off",
    "badblocks-off",
    "throttle-off",
    "readonly-off",
    "logwrites-off",
    "partition",
  ],
  block: ["flakey-off", "flakey-miss", "logwrites-off"],
} as const satisfies Record<string, readonly Passing[]>;
type Base = keyof typeof OVER;

const under = <B extends Base>(name: B, base: object) =>
  Object.fromEntries(
    OVER[name].map((passing) => [`${name}-${passing}`, [{ top: PASSING[passing](base) }]]),
  ) as unknown as Record<`${B}-${(typeof OVER)[B][number]}`, readonly object[]>;

/** A disk that keeps what is written to it, and an image on it that is made anew. */
const RAM = block("/dev/ram0");
const IMAGE = { qcow2: { base: RAM, size: "1GiB", create: "always", overwrite: true } };

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
  "three-layered": [
    { top: block("/dev/nullb0") },
    { top: { linear: { members: [block("/dev/ublkb0")] } } },
    { top: { linear: { members: [block("/dev/ublkb1")] } } },
  ],
  ram: [{ top: RAM }],
  qcow2: [{ top: IMAGE }],
  ...under("null", { null: { size: "1GiB" } }),
  ...under("block", block("/dev/nullb0")),
} as const satisfies Record<string, readonly object[]>;
export type StackName = keyof typeof STACKS;

/** The stacks that let everything pass, each with the same without its instrument. */
export const INSTRUMENTED = (Object.keys(OVER) as Base[]).flatMap((without) =>
  OVER[without].map((passing) => ({ stack: `${without}-${passing}` as StackName, without })),
);

/** Devices of the kernel for the same jobs, by what measure.sh calls them. */
export type KernelName = "null-blk" | "brd" | "loop" | "dm-stripe" | "md-raid1";

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
