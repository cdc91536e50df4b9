import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lackedCapabilities, lockdownMode } from "../../src/cli/doctor/bpf-facts.js";
import { probeEngine } from "../../src/cli/doctor/engine-probe.js";
import { engines } from "../../src/cli/doctor/engines.js";
import type { HostFacts } from "../../src/cli/doctor/facts.js";
import { GOOD_HOST } from "./hosts.js";

const host = (bpf: Partial<HostFacts["bpf"]>, rest: Partial<HostFacts> = {}): HostFacts => ({
  ...GOOD_HOST,
  ...rest,
  bpf: { ...GOOD_HOST.bpf, ...bpf },
});
const refusal = (reason: string, log = ""): HostFacts["bpf"]["probe"] => ({
  known: true,
  value: { works: false, reason, log },
});

/** What is said about uring-bpf: level, finding, cure. */
function said(facts: HostFacts): string {
  const check = engines(facts).find(({ id }) => id === "engine-uring-bpf");
  return `${check?.level} ${check?.finding} → ${check?.cure}`;
}

describe("engines of a host", () => {
  it("are named one by one", () => {
    expect(engines(GOOD_HOST).map(({ level, finding }) => `${level} ${finding}`)).toEqual([
      "ok engine native: available",
      "ok engine uring-bpf: available",
      "ok engine ublk-bpf: not available: the kernel has no ublk_bpf_ops, and no released one has",
    ]);
    expect(engines(host({ ublkOps: true }))[2]?.finding).toContain("does not know how to use");
  });

  it("need io_uring, the native one too", () => {
    const checks = engines(host({}, { uring: { disabled: 2, probe: { known: false, why: "EPERM" } } }));
    expect(checks.slice(0, 2).map(({ level, finding }) => `${level} ${finding}`)).toEqual([
      "bad engine native: not available: it needs io_uring",
      "ok engine uring-bpf: not available: it needs io_uring",
    ]);
  });

  it("are not judged without the native part", () => {
    const program = { ...GOOD_HOST.program, nativeBuilt: { known: false, why: "not built" } as const };
    expect(engines(host({}, { program }))).toEqual([]);
  });

  it("lack what the kernel does not have, by its name", () => {
    const probe = refusal("no such thing");
    expect(said(host({ btf: false, uringOps: false, probe }))).toBe(
      "ok engine uring-bpf: not available: the kernel does not describe its types (no /sys/kernel/btf/vmlinux) → boot Linux 7.1 or newer with CONFIG_DEBUG_INFO_BTF",
    );
    expect(said(host({ uringOps: false, probe }))).toBe(
      "ok engine uring-bpf: not available: the kernel has no io_uring_bpf_ops → boot Linux 7.1 or newer with CONFIG_IO_URING_BPF_OPS",
    );
    expect(said(host({ syscall: false, probe }))).toContain("CONFIG_BPF_SYSCALL");
    const features = { known: true, value: ["SUPPORT_ZERO_COPY", "AUTO_BUF_REG"] } as const;
    expect(said(host({}, { ublk: { ...GOOD_HOST.ublk, features } }))).toContain(
      "not available: the ublk driver lacks BUF_REG_OFF_DAEMON",
    );
  });

  it("tell missing rights from a switch that is off", () => {
    const probe = refusal("no right");
    const lackedCaps = host({ lackedCapabilities: ["CAP_PERFMON", "CAP_BPF"], probe });
    expect(said({ ...lackedCaps, isRoot: false })).toBe(
      "ok engine uring-bpf: not available: this process has no CAP_PERFMON and no CAP_BPF → run as root",
    );
    expect(said(lackedCaps)).toContain("container");
    expect(said(host({ jitOff: true, probe }))).toContain("→ sysctl net.core.bpf_jit_enable=1");
  });

  it("name a lockdown only when the program was refused under it", () => {
    expect(said(host({ lockdown: "confidentiality" }))).toContain("uring-bpf: available");
    expect(said(host({ lockdown: "confidentiality", probe: refusal("no right") }))).toContain(
      "no right; kernel lockdown: confidentiality → boot without lockdown",
    );
    expect(said(host({ lockdown: "none", probe: refusal("no right") }))).toContain("no right → allow bpf");
  });

  it("show the end of what the verifier said, behind plain words", () => {
    const log = Array.from({ length: 100 }, (_, line) => `${line}: r0 = 0\n`).join("\n");
    const facts = host({ probe: refusal("the kernel's verifier does not take the program", log) });
    const detail = engines(facts)[1]?.detail?.split("\n") ?? [];
    expect(said(facts)).toContain("does not take the program → stay with engine native, and report this");
    expect(detail[0]).toBe("the last words of the kernel's verifier:");
    expect([detail.length, detail[1], detail.at(-1)]).toEqual([41, "60: r0 = 0", "99: r0 = 0"]);
  });

  it("say that they could not be tried, or have nothing to serve", () => {
    expect(said(host({ probe: { known: false, why: "no answer within 20 s" } }))).toContain(
      "warn engine uring-bpf: not available: it could not be tried: no answer within 20 s",
    );
    const ublk = { ...GOOD_HOST.ublk, controlNodeUsable: false };
    expect(said(host({}, { ublk }))).toContain("once there is a ublk driver");
  });
});

describe("what the kernel says about rights", () => {
  it.each([
    ["CapEff:\t000001ffffffffff", []],
    ["CapEff:\t0000000000200000", []],
    ["CapEff:\t000000c000000000", []],
    ["CapEff:\t0000008000000000", ["CAP_PERFMON"]],
    ["CapEff:\t0000000000000000", ["CAP_PERFMON", "CAP_BPF"]],
    ["", ["CAP_PERFMON", "CAP_BPF"]],
    ["CapEff:\tnonsense", ["CAP_PERFMON", "CAP_BPF"]],
  ])("%j", (status, lacked) => {
    expect(lackedCapabilities(`Name:\tx\n${status}\nNoNewPrivs:\t0\n`)).toEqual(lacked);
  });

  it.each([
    ["[none] integrity confidentiality\n", "none"],
    ["none integrity [confidentiality]\n", "confidentiality"],
    ["", null],
    ["something else", null],
  ])("%j", (text, mode) => {
    expect(lockdownMode(text)).toBe(mode);
  });
});

describe("the server's answer to --probe-engine", () => {
  const folder = mkdtempSync(join(tmpdir(), "ublk-stack-probe-"));
  function program(name: string, script: string): string {
    const path = join(folder, name);
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  it("is taken when it is one", async () => {
    const good = program("good", `echo '{"engine":"uring-bpf","works":true,"reason":"r","log":""}'`);
    expect(await probeEngine(good)).toEqual({ known: true, value: { works: true, reason: "r", log: "" } });
  });

  it.each([
    ["rubbish", "echo not JSON"],
    ["half", `echo '{"works":true}'`],
    ["mistyped", `echo '{"works":1,"reason":"","log":""}'`],
    ["null", "echo null"],
    ["silent", "true"],
  ])("is not taken when it is %s", async (name, script) => {
    expect(await probeEngine(program(name, script))).toEqual({
      known: false,
      why: "the server's answer makes no sense",
    });
  });

  it("is not waited for too long, nor missed when there is no program", async () => {
    expect(await probeEngine(program("mute", "exec sleep 60"), 100)).toEqual({
      known: false,
      why: "no answer within 0.1 s",
    });
    expect(await probeEngine(join(folder, "none"))).toMatchObject({
      known: false,
      why: expect.stringContaining("ENOENT"),
    });
    expect(await probeEngine(program("failing", "exit 2"))).toMatchObject({
      known: false,
      why: expect.stringContaining("Command failed"),
    });
  });
});
