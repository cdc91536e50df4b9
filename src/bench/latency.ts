/**
 * On real ublk, as time: what a crossing into user space and a sleep cost is short in instructions and long in time. Both
 * engines, and the loop with each way of polling, in turn over many rounds of one boot, with the kernel's mitigations on.
 * The virtual machine is emulated, so that only ratios mean something.
 */
import { median, type Row } from "./result.js";
import type { Poll, StackName } from "./stacks.js";
import { type Contender, type Job, type Measured, runInVm, type VmRun } from "./vm-run.js";

const STACKS: readonly StackName[] = ["null", "block", "stripe"];
const POLLS = ["off", "on", "auto"] as const satisfies readonly Poll[];

const DEPTH_1: Job = {
  key: "randread-1",
  name: "4 KiB random read, depth 1",
  options: "--rw=randread --bs=4k --iodepth=1",
};
const DEPTH_32: Job = {
  key: "randread-32",
  name: "4 KiB random read, depth 32",
  options: "--rw=randread --bs=4k --iodepth=32",
};

const native = (stack: StackName) => `${stack}-native`;
const loop = (stack: StackName, poll: Poll) => `${stack}-uring-bpf-${poll}`;

const contenders: readonly Contender[] = STACKS.flatMap((stack): Contender[] => [
  { name: native(stack), stack, engine: "native", poll: "off" },
  ...POLLS.map((poll): Contender => ({ name: loop(stack, poll), stack, engine: "uring-bpf", poll })),
]);

const middle = (run: VmRun, contender: string, job: Job, of: (one: Measured) => number): number =>
  median(run.measured(contender, job.key).map(of));

/** Medians over the rounds; throws when the machine cannot be had, with the reason. */
export async function benchLatency(
  options: { ios: number; rounds: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  progress("one boot of the virtual machine, with two processors");
  const jobs = [DEPTH_1, DEPTH_32];
  const run = await runInVm({ contenders, jobs, machine: ["--smp", "2", "--mitigations"], ...options });
  const compare = (
    what: string,
    unit: string,
    stack: StackName,
    poll: Poll,
    better: Row["better"],
    value: (contender: string) => number,
  ): Row => ({
    suite: "latency",
    name: `${loop(stack, poll)}: ${what}`,
    unit,
    ours: value(loop(stack, poll)),
    peer: { name: native(stack), value: value(native(stack)) },
    better,
  });
  return STACKS.flatMap((stack) =>
    POLLS.flatMap((poll) => [
      compare(`${DEPTH_1.name}, median latency`, "µs", stack, poll, "lower", (contender) =>
        middle(run, contender, DEPTH_1, ({ latencyNs }) => latencyNs / 1000),
      ),
      compare(`${DEPTH_1.name}, processor use of the server`, "%", stack, poll, "lower", (contender) =>
        middle(run, contender, DEPTH_1, ({ serverCpu }) => serverCpu * 100),
      ),
      compare(DEPTH_32.name, "IO/s", stack, poll, "higher", (contender) =>
        middle(run, contender, DEPTH_32, ({ iops }) => iops),
      ),
    ]),
  );
}
