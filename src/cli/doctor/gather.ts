/** Looks at the host for doctor. Reads and probes only; whatever cannot be looked at becomes an answer of its own. */

import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, statfsSync } from "node:fs";
import { release } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { buildId, packageVersion } from "../../reconcile/build-id.js";
import { openController } from "../../reconcile/client.js";
import { hereAndNow, resolvePaths } from "../../reconcile/paths.js";
import { bpfFacts } from "./bpf-facts.js";
import type { HostFacts } from "./facts.js";
import { askNative } from "./native-facts.js";

const NBD_CLIENTS = [
  "nbdinfo",
  "nbdcopy",
  "nbdsh",
  "nbdfuse",
  "nbdublk",
  "qemu-io",
  "qemu-img",
  "qemu-nbd",
  "nbd-client",
  "fio",
];
const CONTROL_NODE = "/dev/ublk-control";

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Absent or forbidden: for doctor both mean that nothing can be said.
    return null;
  }
}

function onPath(program: string, env: NodeJS.ProcessEnv): boolean {
  return (env.PATH ?? "")
    .split(delimiter)
    .some((folder) => folder !== "" && canAccess(join(folder, program), constants.X_OK));
}

function canAccess(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** A device cgroup or a seccomp filter refuses the opening, not the question whether one may. */
function canOpen(path: string): boolean {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return true;
  } catch {
    return false;
  }
}

function ublkModule(kernel: string): HostFacts["ublk"]["module"] {
  if (existsSync("/sys/module/ublk_drv") || existsSync(CONTROL_NODE)) return "present";
  const folder = `/lib/modules/${kernel}`;
  if (/\/ublk_drv\.ko/.test(readText(join(folder, "modules.builtin")) ?? "")) return "present";
  return /\/ublk_drv\.ko/.test(readText(join(folder, "modules.dep")) ?? "") ? "loadable" : "absent";
}

/** The soft limit of a line of /proc/self/limits; null for none. */
function softLimit(text: string, name: string): number | null {
  const line = text.split("\n").find((candidate) => candidate.startsWith(name));
  const [soft] = (line ?? "").slice(name.length).trim().split(/\s+/);
  return soft === undefined || soft === "" || soft === "unlimited" ? null : Number(soft);
}

/** Names of file systems by their magic, as <linux/magic.h> has them. */
const FILE_SYSTEMS = new Map([
  [0x01021994, "tmpfs"],
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x794c7630, "overlay"],
  [0x2fc12fc1, "zfs"],
  [0x6969, "nfs"],
  [0x65735546, "fuse"],
  [0xf2f52010, "f2fs"],
  [0xca451a4e, "bcachefs"],
]);

function folderFacts(path: string): HostFacts["folders"]["run"] {
  let there = path;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  const magic = statfsSync(there).type;
  return {
    path,
    fileSystem: FILE_SYSTEMS.get(magic) ?? `0x${magic.toString(16)}`,
    writable: canAccess(there, constants.W_OK | constants.X_OK),
  };
}

async function controllerFacts(): Promise<HostFacts["controller"]> {
  try {
    const client = await openController({ start: "never" });
    if (client === null) return { known: false, why: "none runs; the next apply starts one" };
    const { pid, version, build } = await client.version();
    return { known: true, value: { pid, version, sameBuild: build === buildId() } };
  } catch (error) {
    return { known: false, why: error instanceof Error ? error.message : String(error) };
  }
}

/** Everything that doctor judges. */
export async function gatherFacts(env: NodeJS.ProcessEnv): Promise<HostFacts> {
  const paths = resolvePaths({ ...hereAndNow(), env });
  const kernelRelease = release();
  const disabled = readText("/proc/sys/kernel/io_uring_disabled");
  const limits = readText("/proc/self/limits") ?? "";
  const native = await askNative(paths, env);
  return {
    program: { version: packageVersion(), node: process.versions.node, nativeBuilt: native.built },
    kernelRelease,
    isRoot: process.getuid?.() === 0,
    ublk: {
      controlNode: existsSync(CONTROL_NODE),
      controlNodeUsable: canOpen(CONTROL_NODE),
      module: ublkModule(kernelRelease),
      features: native.features,
      devices: native.devices,
    },
    uring: { disabled: disabled === null ? null : Number(disabled), probe: native.uring },
    bpf: await bpfFacts(),
    limits: {
      memlockBytes: softLimit(limits, "Max locked memory"),
      openFiles: softLimit(limits, "Max open files"),
    },
    folders: { run: folderFacts(paths.runDir), state: folderFacts(paths.stateDir) },
    nbdClients: NBD_CLIENTS.filter((program) => onPath(program, env)),
    controller: await controllerFacts(),
  };
}
