/**
 * Every verb, as data: what the parser, the help, the completion and the documentation are made of. The code of a
 * verb is loaded when it runs and not before, so that a short command starts fast.
 *
 * To add a verb: its file beside this one, and its entry here.
 */

import type { VerbModule } from "./common/invocation.js";
import type { OptionSpec } from "./options.js";
import * as options from "./options.js";

/**
 * What the shell offers for an argument: stack files, names of stacks, layers that are images, those and any files, or
 * its choices.
 */
export type Offer = "files" | "stacks" | "files-or-stacks" | "layers" | "images";

export interface ArgumentSpec {
  /** As it stands in the usage line, without brackets. */
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  readonly variadic: boolean;
  readonly choices?: readonly string[];
  readonly offer?: Offer;
}

export interface VerbSpec {
  readonly name: string;
  readonly summary: string;
  /** What the summary leaves open; shown by --help. */
  readonly details?: string;
  readonly group: "Stacks" | "Looking" | "Files" | "Program";
  readonly arguments: readonly ArgumentSpec[];
  readonly options: readonly OptionSpec[];
  /** Command lines without the program's name. */
  readonly examples: readonly string[];
  readonly load: () => Promise<VerbModule>;
  /** What the process exits with on every error, bad usage too, where 2 says something else. */
  readonly errorStatus?: 1;
  /** The verb ends by itself, and well, on SIGINT and SIGTERM. */
  readonly ownSignals?: true;
}

const FILES: ArgumentSpec = {
  name: "file",
  description: "stack files or folders of them; '-' reads standard input",
  required: false,
  variadic: true,
  offer: "files",
};

const stackName = (required: boolean): ArgumentSpec => ({
  name: "name",
  description: "name of a stack",
  required,
  variadic: false,
  offer: "stacks",
});

const FILE_OR_NAME: ArgumentSpec = {
  name: "file|name",
  description: "a stack file, or the name of a stack that was applied",
  required: true,
  variadic: false,
  offer: "files-or-stacks",
};

export const VERBS: readonly VerbSpec[] = [
  {
    name: "apply",
    summary: "make the host run what the files say",
    details: `Starts the controller when none runs, and returns when every stack is ready. A stack that already is as its
file says is left alone: no IO, no restart.`,
    group: "Stacks",
    arguments: [FILES],
    options: [
      options.FILENAME,
      options.outputOf(["json", "yaml", "name"]),
      options.DRY_RUN,
      options.NO_WAIT,
      options.timeout("2m"),
      options.FORCE,
      options.ALLOW_DATA_LOSS,
      options.READD,
    ],
    examples: [
      "apply stacks/demo.yaml",
      "apply -f - < stack.yaml",
      "apply --dry-run stacks/",
      "apply -o json a.yaml b.yaml",
    ],
    load: () => import("./apply.js"),
  },
  {
    name: "diff",
    summary: "show what apply would do",
    details: "Exits 0 when nothing would change, 1 when something would, 2 when the files are refused.",
    group: "Stacks",
    arguments: [FILES],
    options: [options.FILENAME, options.outputOf(["json", "yaml"])],
    examples: ["diff stacks/demo.yaml"],
    load: () => import("./diff.js"),
  },
  {
    name: "set",
    summary: "give a layer other settings while it runs",
    details: `For instruments: error, delay, flakey and the like. Nothing restarts, and no request is lost. The file stays the
truth: diff shows what was set, and the next apply takes it back.`,
    group: "Stacks",
    arguments: [
      stackName(true),
      { name: "layer", description: "name of a layer of it", required: true, variadic: false },
      {
        name: "key=value",
        description:
          "an option of the layer and its value, as in the file; nothing after '=' for its default",
        required: true,
        variadic: true,
      },
    ],
    options: [],
    examples: [
      "set demo sick probability=0.05 seed=7",
      "set demo sick 'ops=[read, flush]'",
      "set demo sick nth=",
    ],
    load: () => import("./set.js"),
  },
  {
    name: "snapshot",
    summary: "take snapshots of a disk while it is in use, and go back to them",
    details: `For layers of type qcow2, by their server: qemu-img must not touch an image that is served, and lists the same ones
(qemu-img snapshot -l -U). Each verb is whole and durable when it returns: after a crash, the image is as it was before, or as
it is afterwards. Requests of clients wait meanwhile, and go on.

create keeps the disk as it is at one moment, as a power cut would leave it: what clients have written, and not what their
file systems still hold in memory; freeze those for more (fsfreeze). apply makes the disk what it was; what was written since is
lost, unless another snapshot has it. It is refused while clients are connected or a device is open, for their caches and mounted
file systems would be wrong: --force does it nonetheless. It is refused, too, where the snapshot's disk has another size than the
layer, and under layers that rely on the bytes below them: mirror, cow, qcow2, logwrites. delete gives the snapshot's space back.

<name> is the tag to create, else a tag or an id. With -o json, a snapshot looks as in qemu-img info, with virtual-size beside
it. When requests to the layer do not end below, a change gives up after 10 seconds and has done nothing; once it has begun it is
never reported as failed: after --timeout the answer says that it is under way, and list says whether it still is.`,
    group: "Stacks",
    arguments: [
      {
        name: "layer",
        description: "STACK/LAYER, a qcow2 layer of a stack that was applied",
        required: true,
        variadic: false,
        offer: "layers",
      },
      {
        name: "action",
        description: "what to do",
        required: true,
        variadic: false,
        choices: ["create", "list", "apply", "delete"],
      },
      { name: "name", description: "the snapshot; none for list", required: false, variadic: false },
    ],
    options: [options.outputOf(["json", "yaml"]), options.timeout("1m"), options.FORCE_SNAPSHOT],
    examples: ["snapshot demo/disk create before-upgrade", "snapshot demo/disk list -o json"],
    load: () => import("./snapshot.js"),
  },
  {
    name: "delete",
    summary: "take stacks down; data files stay",
    group: "Stacks",
    arguments: [{ ...FILE_OR_NAME, required: false, variadic: true }],
    options: [
      options.FILENAME,
      options.ALL,
      options.outputOf(["name"]),
      options.NO_WAIT,
      options.timeout("2m"),
      options.FORCE_DELETE,
      options.IGNORE_NOT_FOUND,
    ],
    examples: ["delete demo", "delete -f stacks/demo.yaml", "delete --all"],
    load: () => import("./delete.js"),
  },
  {
    name: "status",
    summary: "show stacks, their exports and their health",
    group: "Looking",
    arguments: [stackName(false)],
    options: [options.outputOf(["json", "yaml", "wide", "name"]), options.WATCH],
    examples: ["status", "status demo", "status -o wide", "status demo -o json"],
    load: () => import("./status.js"),
  },
  {
    name: "wait",
    summary: "wait until a stack is ready, or its members are in sync",
    group: "Looking",
    arguments: [stackName(false)],
    options: [options.FOR, options.ALL, options.WAIT_TIMEOUT],
    examples: ["wait --for=ready demo", "wait --for=synced demo --timeout 2h", "wait --all"],
    load: () => import("./wait.js"),
  },
  {
    name: "logs",
    summary: "show what servers and controller said about a stack",
    group: "Looking",
    arguments: [stackName(true)],
    options: [options.FOLLOW, options.SINCE, options.TAIL, options.outputOf(["json"])],
    examples: ["logs demo --tail 20", "logs demo -f --since 5m", "logs demo -o json"],
    load: () => import("./logs.js"),
  },
  {
    name: "explain",
    summary: "say where each layer runs, by which engine, and why not a better one",
    group: "Looking",
    arguments: [stackName(true)],
    options: [options.outputOf(["json", "yaml"])],
    examples: ["explain demo"],
    load: () => import("./explain.js"),
  },
  {
    name: "image",
    summary: "say what a disk image is and holds; check it, make it smaller",
    details: `For qcow2, QEMU's format. What begins with /, ./ or ../ is a path, and so is the name of a file that exists; else
STACK/LAYER is the image of a layer. Nothing is changed but by compact, and no file is opened that the image names.

info shows what the header says, snapshots and bitmaps. check compares all refcounts with the references that are found. map
lists the runs of the guest's disk; what a backing file has is "backing" (depth 1), and not looked up. With -o json, what
qemu-img says too has its names and shapes, and counts of 0 are left out where it does so. Of our own are in-use, file-length,
snapshot-count, bitmap-count, refused (tables that cannot be read) and a snapshot's virtual-size; and check's findings.

While somebody writes to an image, a server or a program of QEMU's, info shows its header only, and check and map refuse.
While they look at one, no writer can begin.

compact makes an image smaller; its disk and its snapshots stay the same. Leaked clusters are taken back, and so are those that hold
nothing but zeros; the guest's clusters and the image's tables move from the end of the file into holes before; what is free is
given back to the file system, and the file ends with the last cluster in use. STACK/LAYER is compacted by its server, while
clients go on: there leaks stay, and the file keeps its length, with a hole at its end; delete the stack and name the file for these. What snapshots share with the disk or one another stays where it is, as do compressed clusters and bitmaps; the
holes between them are given back nonetheless. Ctrl-C, a kill or a power cut at any moment leaves the image whole, and as small as it has
become; compact again goes on. In the guest, fstrim first. An image with a data file is refused, one that contradicts itself is left
alone.

Exits 1 on every error. check exits 0 when the image is whole, 2 when it is corrupt, 3 when it has leaks and no corruptions.`,
    group: "Looking",
    arguments: [
      {
        name: "action",
        description: "what to look at, or to do",
        required: true,
        variadic: false,
        choices: ["info", "check", "map", "compact"],
      },
      {
        name: "target",
        description: "an image file or disk; or STACK/LAYER, a qcow2 layer of a stack that was applied",
        required: true,
        variadic: false,
        offer: "images",
      },
    ],
    options: [options.FORCE_SHARE, options.outputOf(["json", "yaml"])],
    examples: [
      "image info disk.qcow2",
      "image check demo/disk",
      "image map -o json ./disk.qcow2",
      "image compact disk.qcow2",
    ],
    load: () => import("./image.js"),
    errorStatus: 1,
  },
  {
    name: "validate",
    summary: "check files without touching anything",
    details:
      "Finds every mistake of a file in one go. Looks at the text only: what is on disk is apply's business.",
    group: "Files",
    arguments: [FILES],
    options: [options.FILENAME, options.outputOf(["json", "yaml", "name"])],
    examples: ["validate stacks/*.yaml", "validate -o json - < stack.yaml"],
    load: () => import("./validate.js"),
  },
  {
    name: "graph",
    summary: "draw the layers of a stack",
    group: "Files",
    arguments: [{ ...FILE_OR_NAME, required: false }],
    options: [options.FILENAME, options.outputOf(["text", "dot", "mermaid", "svg"], "text")],
    examples: ["graph stacks/demo.yaml", "graph demo -o svg > demo.svg"],
    load: () => import("./graph.js"),
  },
  {
    name: "schema",
    summary: "print the JSON schema of stack files",
    group: "Files",
    arguments: [],
    options: [],
    examples: ["schema > stack.v1.schema.json"],
    load: () => import("./schema.js"),
  },
  {
    name: "doctor",
    summary: "look at this host: kernel, driver, engines, limits, leftovers; with cures",
    group: "Program",
    arguments: [],
    options: [options.VERBOSE, options.outputOf(["json", "yaml"])],
    examples: ["doctor", "doctor -v"],
    load: () => import("./doctor.js"),
  },
  {
    name: "controller",
    summary: "run the controller in the foreground, or stop the one that runs",
    details: "Stopping the controller leaves every server, and so every export, as it is.",
    group: "Program",
    arguments: [
      {
        name: "action",
        description: "what to do",
        required: true,
        variadic: false,
        choices: ["run", "stop"],
      },
    ],
    options: [options.STAY],
    examples: ["controller run --stay", "controller stop"],
    load: () => import("./controller.js"),
    ownSignals: true,
  },
  {
    name: "crash",
    summary: "find the states in which a power cut leaves the disk broken",
    details: `Runs a workload against a private copy of the stack and records what a layer was told to write; or takes a log that
exists. Then rebuilds the disk as a power cut may have left it: every prefix of the log, subsets of the writes between
two flushes, and torn writes; and runs the check on each. Both commands find the disk in UBLK_STACK_FILE, UBLK_STACK_URI
or UBLK_STACK_DEVICE. Exits 0 when all states are good, 1 when a bad one was found: the smallest is shown, with the command
that shows it again. docs/crash.md says more.`,
    group: "Program",
    arguments: [{ ...FILES, variadic: false, description: "the stack that is recorded" }],
    options: [
      options.RUN,
      options.CHECK,
      options.PREPARE,
      options.RECORDED_LAYER,
      options.WRITE_LOG,
      options.DISK_SIZE,
      options.BASE,
      options.FROM,
      options.SUBSETS,
      options.TEARS,
      options.SEED,
      options.JOBS,
      options.RESUME,
      options.STATE,
      options.IMAGE,
      options.FAIL_FAST,
      options.CHECK_ALL,
      options.CHECK_TIMEOUT,
      options.outputOf(["json"]),
    ],
    examples: [
      "crash stacks/demo.yaml --prepare 'mkfs.ext4 $UBLK_STACK_FILE' --run ./workload --check './check $UBLK_STACK_FILE'",
      "crash --log writes.log --size 64MiB --check 'e2fsck -fn $UBLK_STACK_FILE' --resume found",
      "crash --resume found --state 120-101",
    ],
    load: () => import("./crash.js"),
  },
  {
    name: "bench",
    summary: "measure this build against its peers, in one run",
    details: `Suites: lifecycle (start, memory, idle), nbd (against nbdkit and qemu-storage-daemon on the same file), qcow2 (against
QEMU's servers on the same image, and opening a large one), crash (states a
second, against replaying the log by hand), delay (how late a delay is, against nbdkit's), and on real ublk in the virtual
machine instructions (both engines against the kernel's own devices, and each instrument that is switched off), latency (the
engines, and each way of polling) and restart (how soon a server serves, and is replaced, with each engine). Figures are ratios or counts, so that they mean the same on another machine.`,
    group: "Program",
    arguments: [],
    options: [
      options.SUITE,
      options.ROWS,
      options.QUICK,
      options.SAVE,
      options.FOLDER,
      options.outputOf(["json"]),
    ],
    examples: ["bench --quick", "bench --suite nbd --save bench-results"],
    load: () => import("./bench.js"),
  },
  {
    name: "completion",
    summary: "print the completion script of a shell",
    details: "bash: source <(ublk-stack completion bash)   zsh and fish: the same, or see docs/cli.md",
    group: "Program",
    arguments: [
      {
        name: "shell",
        description: "which shell",
        required: true,
        variadic: false,
        choices: ["bash", "zsh", "fish"],
      },
    ],
    options: [],
    examples: ["completion bash"],
    load: () => import("./completion.js"),
  },
  {
    name: "version",
    summary: "print the version of this program and of the controller that runs",
    group: "Program",
    arguments: [],
    options: [options.outputOf(["json", "yaml"])],
    examples: ["version -o json"],
    load: () => import("./version.js"),
  },
];

/** The verb of this name, if there is one. */
export function findVerb(name: string): VerbSpec | undefined {
  return VERBS.find((verb) => verb.name === name);
}
