/** What the kernel says about BPF: its types, its switches, and what this process may do. */

import { readFileSync } from "node:fs";
import { serverProgram } from "../../native.js";
import { parseBtfStructs } from "./btf.js";
import { probeEngine } from "./engine-probe.js";
import type { HostFacts } from "./facts.js";

const BTF = "/sys/kernel/btf/vmlinux";

/** Numbers of <linux/capability.h>. */
const CAP_SYS_ADMIN = 21n;
const NEEDED: readonly (readonly [name: string, bit: bigint])[] = [
  ["CAP_PERFMON", 38n],
  ["CAP_BPF", 39n],
];

/**
 * @param status text of /proc/self/status
 * @returns the capabilities that loading a program needs and the process has not
 */
export function lackedCapabilities(status: string): readonly string[] {
  const digits = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  const set = BigInt(`0x${digits}`);
  const has = (bit: bigint) => ((set >> bit) & 1n) === 1n;
  // Before Linux 5.8 the one stood for both, and it still does.
  return has(CAP_SYS_ADMIN) ? [] : NEEDED.filter(([, bit]) => !has(bit)).map(([name]) => name);
}

/** @param text of /sys/kernel/security/lockdown: `none [integrity] confidentiality` */
export function lockdownMode(text: string): string | null {
  return /\[(\w+)\]/.exec(text)?.[1] ?? null;
}

function read(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch {
    // Absent or forbidden: for doctor both mean that nothing can be said.
    return null;
  }
}

export async function bpfFacts(): Promise<HostFacts["bpf"]> {
  const content = read(BTF);
  const structs =
    content === null ? new Set<string>() : parseBtfStructs(content, ["io_uring_bpf_ops", "ublk_bpf_ops"]);
  return {
    btf: content !== null,
    uringOps: structs.has("io_uring_bpf_ops"),
    ublkOps: structs.has("ublk_bpf_ops"),
    syscall: read("/proc/sys/kernel/unprivileged_bpf_disabled") !== null,
    jitOff: read("/proc/sys/net/core/bpf_jit_enable")?.toString().trim() === "0",
    lockdown: lockdownMode(read("/sys/kernel/security/lockdown")?.toString() ?? ""),
    lackedCapabilities: lackedCapabilities(read("/proc/self/status")?.toString() ?? ""),
    probe: await probeEngine(serverProgram()),
  };
}
