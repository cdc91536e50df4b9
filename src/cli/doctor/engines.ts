/** Which engines can serve on this host, and what keeps the others from it. Pure. */

import type { Check } from "./checks.js";
import type { HostFacts } from "./facts.js";

/** What keeps an engine from serving. */
interface Obstacle {
  readonly level: Check["level"];
  readonly why: string;
  readonly cure: string;
  readonly detail?: string;
}

/** Features of the driver without which requests cannot be carried out in the kernel. */
const NEEDED_FEATURES = ["SUPPORT_ZERO_COPY", "AUTO_BUF_REG", "BUF_REG_OFF_DAEMON"];
/** Of the verifier's words the last say what it did not like. */
const LOG_LINES_MAX = 40;

const NO_RING = { why: "it needs io_uring", cure: "make io_uring work first: its own line says how" };

const canUseRings = ({ uring }: HostFacts) => uring.probe.known && uring.disabled !== 2;

function noRing(facts: HostFacts): Obstacle | null {
  return canUseRings(facts) ? null : { level: "ok", ...NO_RING };
}

function kernelLacks({ bpf }: HostFacts): Obstacle | null {
  if (!bpf.btf) {
    return {
      level: "ok",
      why: "the kernel does not describe its types (no /sys/kernel/btf/vmlinux)",
      cure: "boot Linux 7.1 or newer with CONFIG_DEBUG_INFO_BTF",
    };
  }
  if (!bpf.uringOps) {
    return {
      level: "ok",
      why: "the kernel has no io_uring_bpf_ops",
      cure: "boot Linux 7.1 or newer with CONFIG_IO_URING_BPF_OPS",
    };
  }
  if (!bpf.syscall) {
    return {
      level: "ok",
      why: "the kernel takes no BPF programs (no sysctl kernel.unprivileged_bpf_disabled)",
      cure: "boot a kernel with CONFIG_BPF_SYSCALL",
    };
  }
  return null;
}

function notAllowed({ bpf, isRoot }: HostFacts): Obstacle | null {
  if (bpf.lackedCapabilities.length > 0) {
    return {
      level: "ok",
      why: `this process has no ${bpf.lackedCapabilities.join(" and no ")}`,
      cure: isRoot ? "give them to this container" : "run as root",
    };
  }
  if (bpf.jitOff) {
    return {
      level: "warn",
      why: "the kernel's compiler for BPF is off (net.core.bpf_jit_enable=0)",
      cure: "sysctl net.core.bpf_jit_enable=1",
    };
  }
  return null;
}

function driverLacks({ ublk }: HostFacts): Obstacle | null {
  if (!ublk.features.known) return null;
  const have = new Set(ublk.features.value);
  const missing = NEEDED_FEATURES.filter((name) => !have.has(name));
  if (missing.length === 0) return null;
  return {
    level: "ok",
    why: `the ublk driver lacks ${missing.join(", ")}`,
    cure: "boot Linux 7.1 or newer, with a ublk driver of the same version",
  };
}

function verifierWords(log: string): string {
  const lines = log.split("\n").filter((line) => line.trim() !== "");
  return ["the last words of the kernel's verifier:", ...lines.slice(-LOG_LINES_MAX)].join("\n");
}

function refused({ bpf: { probe, lockdown } }: HostFacts): Obstacle | null {
  if (!probe.known) {
    return {
      level: "warn",
      why: `it could not be tried: ${probe.why}`,
      cure: "npm run build, then ublk-stack doctor again",
    };
  }
  const { works, reason, log } = probe.value;
  if (works) return null;
  const locked = lockdown !== null && lockdown !== "none";
  const why = `${reason}${locked ? `; kernel lockdown: ${lockdown}` : ""}`;
  if (log !== "") {
    const cure = "stay with engine native, and report this with `ublk-stack doctor -o json`";
    return { level: "warn", why, cure, detail: verifierWords(log) };
  }
  const cure = locked
    ? "boot without lockdown (Secure Boot may force it), or stay with engine native"
    : "allow bpf and io_uring in this container (its seccomp profile), or stay with engine native";
  return { level: "warn", why, cure };
}

/** In this order: of several obstacles the first is the cause, or has to go first. */
const OBSTACLES = [noRing, kernelLacks, notAllowed, refused, driverLacks];

function uringBpf(facts: HostFacts): Check {
  const id = "engine-uring-bpf";
  for (const look of OBSTACLES) {
    const obstacle = look(facts);
    if (obstacle === null) continue;
    const { level, why, cure, detail } = obstacle;
    const finding = `engine uring-bpf: not available: ${why}`;
    return { id, level, finding, cure, ...(detail === undefined ? {} : { detail }) };
  }
  const idle = facts.ublk.controlNodeUsable ? "" : ", once there is a ublk driver that this user may use";
  return {
    id,
    level: "ok",
    finding: `engine uring-bpf: available${idle}`,
    detail: "a program of every layer type was loaded and attached to io_uring's loop, and taken out again",
  };
}

function native(facts: HostFacts): Check {
  const id = "engine-native";
  if (canUseRings(facts)) return { id, level: "ok", finding: "engine native: available" };
  const { why, cure } = NO_RING;
  return { id, level: "bad", finding: `engine native: not available: ${why}`, cure };
}

function ublkBpf({ bpf }: HostFacts): Check {
  const why = bpf.ublkOps
    ? "the kernel has ublk_bpf_ops, which this program does not know how to use"
    : "the kernel has no ublk_bpf_ops, and no released one has";
  return { id: "engine-ublk-bpf", level: "ok", finding: `engine ublk-bpf: not available: ${why}` };
}

/** Without the native part nobody can tell; its own check has said so. */
export function engines(facts: HostFacts): readonly Check[] {
  return facts.program.nativeBuilt.known ? [native(facts), uringBpf(facts), ublkBpf(facts)] : [];
}
