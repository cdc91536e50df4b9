/**
 * On real ublk, as instructions per IO of the whole system: the virtual machine's clock advances one nanosecond per
 * instruction, so a duration divided by the number of IOs is a count that does not depend on the machine's mood.
 * Both engines, and the kernel's own devices for the same jobs, in the same boot.
 */
import type { Row } from "./result.js";
import { type Engine, INSTRUMENTED, type KernelName, STACKS, type StackName } from "./stacks.js";
import { type Contender, type Job, runInVm } from "./vm-run.js";

const ENGINES = ["native", "uring-bpf"] as const satisfies readonly Engine[];
const PASSING: readonly StackName[] = INSTRUMENTED.map(({ stack }) => stack);
const STACK_NAMES = (Object.keys(STACKS) as StackName[]).filter((stack) => !PASSING.includes(stack));

const JOBS: readonly Job[] = [
  { key: "randread-32", name: "4 KiB random read, depth 32", options: "--rw=randread --bs=4k --iodepth=32" },
  {
    key: "randwrite-32",
    name: "4 KiB random write, depth 32",
    options: "--rw=randwrite --bs=4k --iodepth=32",
  },
  { key: "randread-1", name: "4 KiB random read, depth 1", options: "--rw=randread --bs=4k --iodepth=1" },
];

/** The kernel's device that does the same. */
const PEERS: Partial<Record<StackName, KernelName>> = {
  null: "null-blk",
  ram: "brd",
  block: "loop",
  stripe: "dm-stripe",
  mirror: "md-raid1",
};

/** Calls of io_uring_enter per IO that stays in the kernel. */
const ENTERS_GOAL = 0.001;
/** A fused stack of three layers against one, by engine. */
const FUSED_GOAL: Record<Engine, number> = { native: 1.15, "uring-bpf": 1.1 };

/** A request for a cluster whose place is known, against the same on the disk below the image. */
const MAPPED_GOAL = 1.15;

/** An instrument that lets everything pass, against nothing in its place. */
const PASS_GOAL = 1.03;

const contenderName = (stack: StackName, engine: Engine) => `${stack}-${engine}`;

const contenders: readonly Contender[] = [
  ...(Object.values(PEERS) as KernelName[]).map((name) => ({ name, kernel: true }) as const),
  ...[...STACK_NAMES, ...PASSING].flatMap((stack) =>
    ENGINES.map((engine) => ({ name: contenderName(stack, engine), stack, engine, poll: "off" }) as const),
  ),
];

/** Thousands of instructions, and system calls, per IO; throws when the machine cannot be had, with the reason. */
export async function benchInstructions(
  options: { ios: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  progress("one boot of the virtual machine with a clock that counts instructions");
  const run = await runInVm({ contenders, jobs: JOBS, ios: options.ios, rounds: 1, machine: ["--icount"] });
  // A nanosecond per instruction: 10^9 / IOPS instructions per IO.
  const cost = (contender: string, job: Job) =>
    1e6 / (run.measured(contender, job.key)[0]?.iops ?? Number.NaN);
  const row = (name: string, job: Job, ours: string, peer: string, goal?: number): Row => ({
    suite: "instructions",
    name: `${name}: ${job.name}`,
    unit: "k instr/IO",
    ours: cost(ours, job),
    peer: { name: peer, value: cost(peer, job) },
    better: "lower",
    ...(goal === undefined ? {} : { goal }),
  });
  const of = contenderName;
  return [
    ...STACK_NAMES.flatMap((stack) => {
      const peer = PEERS[stack];
      return JOBS.flatMap((job) => [
        ...(peer === undefined
          ? []
          : ENGINES.map((engine) => row(of(stack, engine), job, of(stack, engine), peer))),
        row(of(stack, "uring-bpf"), job, of(stack, "uring-bpf"), of(stack, "native"), 1),
      ]);
    }),
    ...ENGINES.flatMap((engine) =>
      JOBS.map((job) =>
        row(
          of("three-fused", engine),
          job,
          of("three-fused", engine),
          of("block", engine),
          FUSED_GOAL[engine],
        ),
      ),
    ),
    ...ENGINES.flatMap((engine) =>
      JOBS.map((job) => row(of("qcow2", engine), job, of("qcow2", engine), of("ram", engine), MAPPED_GOAL)),
    ),
    ...INSTRUMENTED.flatMap(({ stack, without }) =>
      ENGINES.flatMap((engine) =>
        JOBS.map((job) => row(of(stack, engine), job, of(stack, engine), of(without, engine), PASS_GOAL)),
      ),
    ),
    ...STACK_NAMES.flatMap((stack) =>
      ENGINES.flatMap((engine) =>
        JOBS.map(
          (job): Row => ({
            suite: "instructions",
            name: `${of(stack, engine)}: ${job.name}`,
            unit: "enters/IO",
            ours: run.measured(of(stack, engine), job.key)[0]?.entersPerIo ?? Number.NaN,
            better: "lower",
            ...(engine === "uring-bpf" ? { goal: ENTERS_GOAL } : {}),
          }),
        ),
      ),
    ),
  ];
}
