/**
 * How soon a device is served on real ublk: when its server starts, and when one that was killed is replaced while a
 * read waits. Both engines in turn, in one boot; the virtual machine is emulated, so only ratios mean something.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { median, type Row } from "./result.js";
import { type Engine, type StackName, serverConfigs } from "./stacks.js";
import { boot, project, vm } from "./vm-run.js";

const STACKS: readonly StackName[] = ["null", "block", "stripe", "mirror"];
const ENGINES: readonly Engine[] = ["native", "uring-bpf"];
const QUEUES = 2;
/** Of native's time. */
const GOAL = 2;

interface Times {
  starts: number[];
  recoveries: number[];
}

const nameOf = (stack: StackName, engine: Engine) => `${stack}-${engine}`;

/** Medians; throws when the machine cannot be had, with the reason. */
export async function benchRestart(
  options: { rounds: number; kills: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  progress("one boot of the virtual machine, with two processors");
  // Below the project: the guest sees the host's files, but has a /tmp of its own.
  await mkdir(join(project, "build"), { recursive: true });
  const folder = await mkdtemp(join(project, "build/bench-"));
  try {
    for (const stack of STACKS) {
      for (const engine of ENGINES) {
        const name = nameOf(stack, engine);
        const [config] = serverConfigs(name, stack, engine, "auto", QUEUES);
        await writeFile(join(folder, `${name}.json`), JSON.stringify(config));
      }
    }
    await boot(
      ["--smp", "2"],
      ["node", join(vm, "restart.mjs"), folder, String(options.rounds), String(options.kills)],
    );
    const times = async (stack: StackName, engine: Engine) =>
      JSON.parse(await readFile(join(folder, `${nameOf(stack, engine)}.times`), "utf8")) as Times;
    const rows: Row[] = [];
    for (const stack of STACKS) {
      const [native, loop] = [await times(stack, "native"), await times(stack, "uring-bpf")];
      const row = (what: string, of: (times: Times) => readonly number[]): Row => ({
        suite: "restart",
        name: `${nameOf(stack, "uring-bpf")}: ${what}`,
        unit: "ms",
        ours: median(of(loop)),
        peer: { name: nameOf(stack, "native"), value: median(of(native)) },
        better: "lower",
        goal: GOAL,
      });
      rows.push(
        row("start until ready", ({ starts }) => starts),
        row("killed until a read is answered", ({ recoveries }) => recoveries),
      );
    }
    return rows;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
