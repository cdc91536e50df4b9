/**
 * On real ublk, as instructions per IO of the whole system: the virtual machine's clock advances one nanosecond per
 * instruction, so a duration divided by the number of IOs is a count that does not depend on the machine's mood.
 * The kernel's own devices for the same job are measured in the same boot.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { plainMedia } from "../layers/media.js";
import type { Row } from "./result.js";
import { serverConfig } from "./server-config.js";

const project = resolve(import.meta.dirname, "../..");

/** What vm.sh exits with when no virtual machine can be had. */
const EXIT_UNAVAILABLE = 77;

/** Lower devices of the guest: null_blk, 1 GiB each, which neither keeps nor clears data. */
const NULLB = (index: number) => ({ block: { path: `/dev/nullb${index}` } });

interface Contender {
  /** A shell-safe name; the result's key. */
  key: string;
  /** Our stack's layers, the exported one called top; absent for a device of the kernel. */
  layers?: Record<string, object>;
  /** Shell commands that bring up the kernel's device and set $dev. */
  up?: string;
  down?: string;
}

const CONTENDERS: readonly Contender[] = [
  { key: "null-blk", up: "dev=/dev/nullb0" },
  { key: "ublk-null", layers: { top: { null: { size: "1GiB" } } } },
  { key: "loop", up: "dev=$(losetup --direct-io=on --find --show /dev/nullb0)", down: "losetup -d $dev" },
  { key: "ublk-block", layers: { top: NULLB(0) } },
  {
    key: "dm-stripe",
    up: 'dmsetup create --noudevsync s --table "0 4194304 striped 2 128 /dev/nullb0 0 /dev/nullb1 0"; dmsetup mknodes; dev=$(readlink -f /dev/mapper/s)',
    down: "dmsetup remove --noudevsync s",
  },
  { key: "ublk-stripe", layers: { top: { stripe: { chunk: "64KiB", members: [NULLB(0), NULLB(1)] } } } },
  {
    key: "ublk-three",
    layers: {
      top: {
        linear: {
          members: [
            {
              stripe: {
                chunk: "64KiB",
                members: [{ linear: { members: [NULLB(0)] } }, { linear: { members: [NULLB(1)] } }],
              },
            },
          ],
        },
      },
    },
  },
];

const JOBS = [
  { key: "randread-32", name: "4 KiB random read, depth 32", options: "--rw=randread --bs=4k --iodepth=32" },
  {
    key: "randwrite-32",
    name: "4 KiB random write, depth 32",
    options: "--rw=randwrite --bs=4k --iodepth=32",
  },
  { key: "randread-1", name: "4 KiB random read, depth 1", options: "--rw=randread --bs=4k --iodepth=1" },
];

/** Ours, the kernel's device for the same job, and the goal for ours/peer if one is set. */
const COMPARISONS: readonly { ours: string; peer: string; goal?: number }[] = [
  { ours: "ublk-null", peer: "null-blk" },
  { ours: "ublk-block", peer: "loop" },
  { ours: "ublk-stripe", peer: "dm-stripe" },
  { ours: "ublk-three", peer: "ublk-block", goal: 1.15 },
];

/** What the guest's null_blk devices are to the compiler. */
const NULLB_MEDIA = plainMedia(true, 2 ** 31);

function guestScript(folder: string, ios: number): string {
  const server = join(project, "native/build/Release/ublk-stack-server");
  const measure = JOBS.map(
    (job) =>
      `fio --name=j --filename=$dev --direct=1 --ioengine=io_uring --size=512m --number_ios=${ios} --norandommap --randrepeat=1 ${job.options} --output-format=json >${folder}/$key.${job.key}.json`,
  ).join("\n  ");
  return [
    "set -eu",
    "pause() { read -rt 0.05 <> <(:) || true; }",
    "modprobe null_blk nr_devices=2 gb=2 queue_mode=2 irqmode=0 submit_queues=1 hw_queue_depth=128 memory_backed=0",
    "modprobe loop; modprobe dm_mod",
    "for q in /sys/block/nullb*/queue/scheduler; do echo none >$q; done",
    `measure() {\n  echo none >/sys/block/\${dev#/dev/}/queue/scheduler 2>/dev/null || true\n  ${measure}\n}`,
    ...CONTENDERS.flatMap((contender) =>
      contender.layers === undefined
        ? [`key=${contender.key}; ${contender.up}; measure; ${contender.down ?? ":"}`]
        : [
            `key=${contender.key}; run=/run/bench/$key; mkdir -p $run`,
            `cp ${folder}/$key.config.json $run/config.json`,
            `${server} --config $run/config.json --ready-fd 3 3>$run/ready &`,
            "until grep -q '\"ready\":' $run/ready 2>/dev/null; do pause; done",
            "dev=/dev/ublkb$(sed -n 's/.*\"id\": *\\([0-9]*\\).*/\\1/p' $run/device.json); measure",
            "kill -TERM $(cat $run/supervisor.pid)",
            "until [ ! -e $run/supervisor.pid ]; do pause; done",
          ],
    ),
  ].join("\n");
}

async function inVirtualMachine(script: string): Promise<{ code: number | null; complaint: string }> {
  const child = spawn(
    "bash",
    [join(project, "test/vm/vm.sh"), "--icount", "--timeout", "3000", "--script", script],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let complaint = "";
  child.stderr.on("data", (data: Buffer) => {
    complaint += data.toString();
  });
  const code = await new Promise<number | null>((done) => child.once("close", done));
  return { code, complaint: complaint.trim() };
}

/** Thousands of instructions per IO; throws when the machine cannot be had, with the reason. */
export async function benchInstructions(
  options: { ios: number },
  progress: (text: string) => void,
): Promise<Row[]> {
  // Below the project: the guest sees the host's files, but has a /tmp of its own.
  await mkdir(join(project, "build"), { recursive: true });
  const folder = await mkdtemp(join(project, "build/bench-"));
  try {
    for (const contender of CONTENDERS) {
      if (contender.layers === undefined) continue;
      const spec = {
        layers: contender.layers,
        exports: { data: { layer: "top", frontend: "ublk", ublk: { queues: 1 } } },
      };
      const config = serverConfig(contender.key, spec, {
        runDir: `/run/bench/${contender.key}`,
        media: NULLB_MEDIA,
      });
      await writeFile(join(folder, `${contender.key}.config.json`), JSON.stringify(config));
    }
    const script = join(folder, "guest.sh");
    await writeFile(script, guestScript(folder, options.ios));
    progress("one boot of the virtual machine with a clock that counts instructions");
    const { code, complaint } = await inVirtualMachine(script);
    if (code === EXIT_UNAVAILABLE) throw new Error(complaint);
    if (code !== 0)
      throw new Error(`the measurement in the virtual machine failed (exit ${code}): ${complaint}`);

    const cost = async (contender: string, job: string): Promise<number> => {
      const report = JSON.parse(await readFile(join(folder, `${contender}.${job}.json`), "utf8")) as {
        jobs: { read: { iops: number }; write: { iops: number } }[];
      };
      const [result] = report.jobs;
      // A nanosecond per instruction: 10^9 / IOPS instructions per IO.
      return 1e6 / ((result?.read.iops ?? 0) + (result?.write.iops ?? 0));
    };
    const rows: Row[] = [];
    for (const { ours, peer, goal } of COMPARISONS) {
      for (const job of JOBS) {
        rows.push({
          suite: "instructions",
          name: `${ours}: ${job.name}`,
          unit: "k instr/IO",
          ours: await cost(ours, job.key),
          peer: { name: peer, value: await cost(peer, job.key) },
          better: "lower",
          ...(goal === undefined ? {} : { goal }),
        });
      }
    }
    return rows;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
