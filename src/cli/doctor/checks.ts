/** Facts → what is well, what is not, and the cure. Pure. */

import { engines } from "./engines.js";
import type { HostFacts } from "./facts.js";
import { bugsOf, compareVersions, parseRelease } from "./kernel-bugs.js";

export type Level = "ok" | "warn" | "bad";

export interface Check {
  /** Stable name, for programs. */
  readonly id: string;
  readonly level: Level;
  /** What was found, in one line. */
  readonly finding: string;
  /** What to do; always there unless the level is ok, and then what would bring more. */
  readonly cure?: string;
  /** What it means and how it was found out, for -v; may have several lines. */
  readonly detail?: string;
}

type Judge = (facts: HostFacts) => readonly Check[];

const MIB = 1024 * 1024;
/** Rings and pre-allocated buffers of one server with a few queues. */
const COMFORTABLE_MEMLOCK_BYTES = 64 * MIB;

const program: Judge = ({ program: { version, node, nativeBuilt } }) => [
  nativeBuilt.known
    ? { id: "program", level: "ok", finding: `ublk-stack ${version} on Node ${node}` }
    : {
        id: "program",
        level: "bad",
        finding: `the native part cannot be used: ${nativeBuilt.why}`,
        cure: "npm run build",
      },
];

const kernel: Judge = ({ kernelRelease, ublk }) => {
  const version = parseRelease(kernelRelease);
  // All of them are the ublk driver's: without it they cannot bite.
  const bugs = (ublk.module === "absent" ? [] : bugsOf(kernelRelease)).map(
    (bug): Check => ({
      id: `kernel-bug-${bug.id}`,
      level: bug.id === "update-size-null" ? "warn" : "bad",
      finding: `Linux ${kernelRelease}: ${bug.title}`,
      cure: bug.cure,
      detail: `source: ${bug.source}`,
    }),
  );
  if (version !== null && compareVersions(version, [5, 11, 0, 0]) < 0) {
    return [
      {
        id: "kernel",
        level: "bad",
        finding: `Linux ${kernelRelease} is too old`,
        cure: "boot Linux 6.1 or newer",
      },
      ...bugs,
    ];
  }
  const old = version !== null && compareVersions(version, [6, 1, 0, 0]) < 0;
  return [
    old
      ? {
          id: "kernel",
          level: "warn",
          finding: `Linux ${kernelRelease}, older than tested`,
          cure: "boot Linux 6.1 or newer",
        }
      : { id: "kernel", level: "ok", finding: `Linux ${kernelRelease}` },
    ...bugs,
  ];
};

const driver: Judge = ({ ublk, isRoot }) => {
  const nbd = "Stacks are served over NBD until then (frontend: auto).";
  if (ublk.module === "absent") {
    return [
      {
        id: "ublk-driver",
        level: "warn",
        finding: "no ublk driver in this kernel",
        cure: "use a kernel with CONFIG_BLK_DEV_UBLK (Linux 6.1 or newer); exports are NBD here",
        detail: nbd,
      },
    ];
  }
  if (!ublk.controlNode) {
    return [
      {
        id: "ublk-driver",
        level: "warn",
        finding: "the ublk driver is not loaded",
        cure: "modprobe ublk_drv; to have it at every boot: echo ublk_drv > /etc/modules-load.d/ublk.conf",
        detail: nbd,
      },
    ];
  }
  if (!ublk.controlNodeUsable) {
    return [
      {
        id: "ublk-driver",
        level: "warn",
        finding: "the ublk driver is there, but this user may not use it",
        cure: isRoot
          ? "allow /dev/ublk-control in this container or sandbox"
          : "run as root for ublk devices; exports are NBD otherwise",
        detail: nbd,
      },
    ];
  }
  return [{ id: "ublk-driver", level: "ok", finding: "ublk driver answers on /dev/ublk-control" }];
};

/** What the data plane is better with, and what it does without. */
const WANTED_FEATURES: readonly (readonly [name: string, without: string])[] = [
  ["SUPPORT_ZERO_COPY", "data is copied"],
  ["AUTO_BUF_REG", "data is copied"],
  ["USER_RECOVERY", "a server that dies takes its device with it"],
  ["USER_RECOVERY_REISSUE", "a server that dies may cost IO errors"],
  ["CMD_IOCTL_ENCODE", "legacy commands are used"],
];

const features: Judge = ({ ublk }) => {
  if (!ublk.controlNode || !ublk.controlNodeUsable) return [];
  if (!ublk.features.known) {
    return [
      {
        id: "ublk-features",
        level: "warn",
        finding: `the driver does not list its features: ${ublk.features.why}`,
        cure: "boot Linux 6.5 or newer; until then data is copied",
      },
    ];
  }
  const have = new Set(ublk.features.value);
  const missing = WANTED_FEATURES.filter(([name]) => !have.has(name));
  const detail = `features: ${ublk.features.value.join(", ")}`;
  if (missing.length === 0) {
    return [
      {
        id: "ublk-features",
        level: "ok",
        finding: `${have.size} driver features, zero copy and recovery among them`,
        detail,
      },
    ];
  }
  const words = missing.map(([name, without]) => `${name} (${without})`).join(", ");
  return [
    {
      id: "ublk-features",
      level: "warn",
      finding: `the driver lacks ${words}`,
      cure: "boot a newer kernel: Linux 6.16 has them all",
      detail,
    },
  ];
};

const devices: Judge = ({ ublk }) => {
  if (!ublk.devices.known) return [];
  const orphans = ublk.devices.value.filter((device) => device.ours && device.stack === null);
  const all = ublk.devices.value.length;
  if (orphans.length === 0) {
    return [
      {
        id: "ublk-devices",
        level: "ok",
        finding: `${all} ublk device${all === 1 ? "" : "s"}, none left over`,
      },
    ];
  }
  return orphans.map(
    ({ id, state, serverPid }): Check => ({
      id: "ublk-orphan",
      level: "warn",
      finding: `/dev/ublkb${id} (${state}) belongs to no stack of this user${serverPid === null ? " and has no server" : ""}`,
      cure: "apply the stack that it came from, or remove it with any ublk tool once nothing has it open",
    }),
  );
};

const uring: Judge = ({ uring: { disabled, probe }, program: { nativeBuilt } }) => {
  if (disabled === 2) {
    return [
      {
        id: "io-uring",
        level: "bad",
        finding: "io_uring is switched off",
        cure: "sysctl kernel.io_uring_disabled=0",
      },
    ];
  }
  // Nobody could ask; the check of the program has said so.
  if (!nativeBuilt.known) return [];
  if (!probe.known) {
    return [
      {
        id: "io-uring",
        level: "bad",
        finding: `io_uring cannot be used: ${probe.why}`,
        cure:
          disabled === 1
            ? "sysctl kernel.io_uring_disabled=0, or add this user to the group of kernel.io_uring_group"
            : "allow io_uring in this container (its seccomp profile), or run outside of it",
      },
    ];
  }
  const { have, lack } = probe.value;
  const detail = `has: ${have.join(", ")}${lack.length > 0 ? `; lacks: ${lack.join(", ")}` : ""}`;
  return [
    {
      id: "io-uring",
      level: "ok",
      finding: `io_uring with ${have.length} of ${have.length + lack.length} features that help`,
      detail,
    },
  ];
};

const limitText = (limit: number | null): string => (limit === null ? "unlimited" : String(limit));

const limits: Judge = ({ limits: { memlockBytes, openFiles }, isRoot }) => {
  const memlock = memlockBytes === null ? "unlimited" : `${Math.floor(memlockBytes / MIB)} MiB`;
  const enough = isRoot || memlockBytes === null || memlockBytes >= COMFORTABLE_MEMLOCK_BYTES;
  return [
    enough
      ? { id: "memlock", level: "ok", finding: `locked memory: ${isRoot ? "root has no limit" : memlock}` }
      : {
          id: "memlock",
          level: "warn",
          finding: `locked memory is limited to ${memlock}`,
          cure: "raise it: LimitMEMLOCK= in the unit, or memlock in /etc/security/limits.conf",
          detail: "Pages that cannot be locked may be swapped out while memory reclaim waits for the device.",
        },
    openFiles === null || openFiles >= 1024
      ? { id: "open-files", level: "ok", finding: `open files: ${limitText(openFiles)}` }
      : {
          id: "open-files",
          level: "warn",
          finding: `open files are limited to ${openFiles}`,
          cure: "ulimit -n 1024 or more",
        },
  ];
};

const folders: Judge = ({ folders: { run, state } }) =>
  (
    [
      ["run", run, "UBLK_STACK_RUN_DIR"],
      ["state", state, "UBLK_STACK_STATE_DIR"],
    ] as const
  ).map(([name, { path, fileSystem, writable }, variable]): Check => {
    const id = `${name}-folder`;
    if (!writable) {
      return {
        id,
        level: "bad",
        finding: `cannot write to the ${name} folder ${path}`,
        cure: `mend its permissions, or set ${variable}`,
      };
    }
    if (name === "state" && fileSystem === "tmpfs") {
      return {
        id,
        level: "warn",
        finding: `the state folder ${path} is on tmpfs: a reboot forgets which stacks there were`,
        cure: `set ${variable} to a folder on disk`,
      };
    }
    return { id, level: "ok", finding: `${name} folder ${path} (${fileSystem})` };
  });

const clients: Judge = ({ nbdClients, ublk }) =>
  nbdClients.length > 0
    ? [{ id: "nbd-clients", level: "ok", finding: `NBD clients: ${nbdClients.join(", ")}` }]
    : [
        {
          id: "nbd-clients",
          level: ublk.controlNodeUsable ? "ok" : "warn",
          finding: "no NBD client on the PATH",
          ...(ublk.controlNodeUsable
            ? {}
            : { cure: "apt install qemu-utils or libnbd-bin, to read and write the exports" }),
        },
      ];

const controller: Judge = ({ controller: answer }) => {
  if (!answer.known) return [{ id: "controller", level: "ok", finding: `no controller: ${answer.why}` }];
  const { pid, version, sameBuild } = answer.value;
  return sameBuild
    ? [{ id: "controller", level: "ok", finding: `controller ${version} runs (pid ${pid})` }]
    : [
        {
          id: "controller",
          level: "warn",
          finding: `controller ${version} (pid ${pid}) is of another build`,
          cure: "the next apply replaces it; servers and exports stay",
        },
      ];
};

const JUDGES: readonly Judge[] = [
  program,
  kernel,
  driver,
  features,
  devices,
  uring,
  engines,
  limits,
  folders,
  clients,
  controller,
];

/** Every check, in the order in which it is read. */
export function examine(facts: HostFacts): readonly Check[] {
  return JUDGES.flatMap((judge) => judge(facts));
}
