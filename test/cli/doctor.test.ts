import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseBtfStructs } from "../../src/cli/doctor/btf.js";
import { type Check, examine } from "../../src/cli/doctor/checks.js";
import type { HostFacts, UblkDevice } from "../../src/cli/doctor/facts.js";
import { bugsOf, parseRelease } from "../../src/cli/doctor/kernel-bugs.js";
import { cli, ESCAPE, onTerminal } from "./harness.js";
import { DRIVER_FEATURES, GOOD_HOST } from "./hosts.js";

const device = (more: Partial<UblkDevice>): UblkDevice => ({
  id: 0,
  state: "live",
  serverPid: 99,
  ours: true,
  stack: null,
  ...more,
});

const found = (facts: HostFacts): string[] =>
  examine(facts)
    .filter(({ level }) => level !== "ok")
    .map(({ level, finding, cure }) => `${level}: ${finding} → ${cure}`);
const check = (facts: HostFacts, id: string): Check | undefined =>
  examine(facts).find((one) => one.id === id);
const withUblk = (more: Partial<HostFacts["ublk"]>): HostFacts => ({
  ...GOOD_HOST,
  ublk: { ...GOOD_HOST.ublk, ...more },
});

describe("what doctor concludes", () => {
  it("finds nothing wrong where nothing is", () => {
    expect(examine(GOOD_HOST).map(({ level, finding }) => `${level} ${finding}`)).toMatchInlineSnapshot(`
      [
        "ok ublk-stack 1.2.3 on Node 20.0.0",
        "ok Linux 7.3.4+deb13-cloud-amd64",
        "ok ublk driver answers on /dev/ublk-control",
        "ok 6 driver features, zero copy and recovery among them",
        "ok 0 ublk devices, none left over",
        "ok io_uring with 2 of 2 features that help",
        "ok engine native: available",
        "ok engine uring-bpf: available",
        "ok engine ublk-bpf: not available: the kernel has no ublk_bpf_ops, and no released one has",
        "ok locked memory: root has no limit",
        "ok open files: 1048576",
        "ok run folder /run/ublk-stack (tmpfs)",
        "ok state folder /var/lib/ublk-stack (ext4)",
        "ok NBD clients: nbdcopy",
        "ok controller 1.2.3 runs (pid 7)",
      ]
    `);
  });

  it("gives a cure for everything that is not well", () => {
    const everythingWrong: HostFacts = {
      program: { ...GOOD_HOST.program, nativeBuilt: { known: false, why: "not built" } },
      kernelRelease: "6.18.4-arch1-1",
      isRoot: false,
      ublk: {
        ...GOOD_HOST.ublk,
        features: { known: true, value: ["CMD_IOCTL_ENCODE"] },
        devices: { known: true, value: [device({ id: 4, state: "quiesced", serverPid: null })] },
      },
      uring: { disabled: 1, probe: { known: false, why: "EPERM" } },
      bpf: { ...GOOD_HOST.bpf, btf: false, uringOps: false },
      limits: { memlockBytes: 8 * 1024 * 1024, openFiles: 256 },
      folders: {
        run: { path: "/run/user/1/ublk-stack", fileSystem: "tmpfs", writable: false },
        state: { path: "/tmp/state", fileSystem: "tmpfs", writable: true },
      },
      nbdClients: [],
      controller: { known: true, value: { pid: 7, version: "1.0.0", sameBuild: false } },
    };
    const checks = examine(everythingWrong).filter(({ level }) => level !== "ok");
    expect(checks.length).toBeGreaterThanOrEqual(10);
    for (const { finding, cure } of checks) expect(cure, finding).toBeTruthy();
  });

  it("tells an absent, an unloaded and a forbidden driver apart", () => {
    expect(found(withUblk({ module: "absent", controlNode: false, controlNodeUsable: false }))[0]).toContain(
      "no ublk driver in this kernel",
    );
    expect(
      found(withUblk({ module: "loadable", controlNode: false, controlNodeUsable: false }))[0],
    ).toContain("modprobe ublk_drv");
    expect(found({ ...withUblk({ controlNodeUsable: false }), isRoot: false })[0]).toContain("run as root");
    expect(found(withUblk({ controlNodeUsable: false }))[0]).toContain("container");
  });

  it("names the features that are missing, and what that costs", () => {
    const facts = withUblk({
      features: { known: true, value: DRIVER_FEATURES.filter((name) => name !== "AUTO_BUF_REG") },
    });
    expect(check(facts, "ublk-features")?.finding).toBe("the driver lacks AUTO_BUF_REG (data is copied)");
    expect(
      check(withUblk({ features: { known: false, why: "before Linux 6.5" } }), "ublk-features")?.level,
    ).toBe("warn");
  });

  it("finds devices that nobody owns, and leaves other programs' alone", () => {
    const devices = [
      device({ id: 1, stack: "demo/safe" }),
      device({ id: 2, ours: false }),
      device({ id: 3, state: "quiesced", serverPid: null }),
    ];
    expect(found(withUblk({ devices: { known: true, value: devices } }))).toEqual([
      "warn: /dev/ublkb3 (quiesced) belongs to no stack of this user and has no server → apply the stack that it came from, or remove it with any ublk tool once nothing has it open",
    ]);
  });

  it("fears no bug of a driver that is not there", () => {
    const facts = {
      ...withUblk({ module: "absent", controlNode: false, controlNodeUsable: false }),
      kernelRelease: "6.18.4",
    };
    expect(examine(facts).filter(({ id }) => id.startsWith("kernel-bug"))).toEqual([]);
    expect(found({ ...GOOD_HOST, kernelRelease: "6.18.4" })[0]).toMatch(
      /^bad: Linux 6\.18\.4: the first ublk device oopses/,
    );
  });

  it("tells io_uring switched off from io_uring forbidden", () => {
    expect(found({ ...GOOD_HOST, uring: { disabled: 2, probe: { known: false, why: "EPERM" } } })).toEqual([
      "bad: io_uring is switched off → sysctl kernel.io_uring_disabled=0",
      "bad: engine native: not available: it needs io_uring → make io_uring work first: its own line says how",
    ]);
    expect(
      found({ ...GOOD_HOST, uring: { disabled: 0, probe: { known: false, why: "EPERM" } } })[0],
    ).toContain("seccomp");
  });

  it("misses no NBD client where ublk does", () => {
    expect(found({ ...GOOD_HOST, nbdClients: [] })).toEqual([]);
    expect(found({ ...withUblk({ controlNodeUsable: false }), nbdClients: [] })[1]).toContain(
      "no NBD client",
    );
  });
});

describe("kernels that are known to hurt", () => {
  it.each([
    ["6.18.4-arch1-1", ["add-dev-oops", "update-size-null"]],
    ["6.18.5", ["add-dev-oops", "update-size-null"]],
    ["6.18.6", ["update-size-null"]],
    ["6.18.3", ["update-size-null"]],
    ["6.17.0-1015-azure", ["add-dev-oops-backported", "update-size-null"]],
    ["6.17.0-5-generic", ["update-size-null"]],
    ["6.17.4", ["update-size-null"]],
    ["6.16.0-rc1", ["update-size-null"]],
    ["6.15.9", []],
    ["7.0.0-rc3", ["update-size-null"]],
    ["7.0.0-rc4", []],
    ["7.0.0", []],
    ["6.1.0-40-amd64", []],
    ["7.3.4+deb13-cloud-amd64", []],
    ["something else", []],
  ])("%s", (release, ids) => {
    expect(bugsOf(release).map(({ id }) => id)).toEqual(ids);
  });

  it("reads releases", () => {
    expect(parseRelease("6.1.0-rc2+")).toEqual([6, 1, 0, 2]);
    expect(parseRelease("6.12")).toEqual([6, 12, 0, Number.POSITIVE_INFINITY]);
    expect(parseRelease("linux")).toBeNull();
  });
});

describe("the kernel's type information", () => {
  /** A BTF of one integer, one structure with a member, and one union, whose names are given. */
  function btf(structure: string, union: string): Buffer {
    const strings = Buffer.from(`\0int\0${structure}\0${union}\0`);
    const at = (name: string) => strings.indexOf(`\0${name}\0`) + 1;
    const words = [
      at("int"),
      1 << 24,
      4,
      0x20,
      at(structure),
      (4 << 24) | 1,
      4,
      0,
      1,
      0,
      at(union),
      5 << 24,
      0,
    ];
    const types = Buffer.alloc(words.length * 4);
    for (const [index, word] of words.entries()) types.writeUInt32LE(word, index * 4);
    const header = Buffer.alloc(24);
    header.writeUInt16LE(0xeb9f, 0);
    header.writeUInt8(1, 2);
    for (const [index, word] of [24, 0, types.length, types.length, strings.length].entries())
      header.writeUInt32LE(word, 4 + index * 4);
    return Buffer.concat([header, types, strings]);
  }

  it("knows structures, and nothing but structures", () => {
    expect(parseBtfStructs(btf("here", "there"), ["here", "there", "nowhere"])).toEqual(new Set(["here"]));
  });

  it("is not led astray by what is no BTF", () => {
    const whole = btf("here", "there");
    for (let length = 0; length < whole.length; length++) {
      expect(() => parseBtfStructs(whole.subarray(0, length), ["here"])).not.toThrow();
    }
    expect(parseBtfStructs(Buffer.from("something else that is long enough"), ["here"])).toEqual(new Set());
  });

  it.runIf(existsSync("/sys/kernel/btf/vmlinux"))("is read from this kernel", () => {
    const content = readFileSync("/sys/kernel/btf/vmlinux");
    expect(parseBtfStructs(content, ["task_struct", "no_such_structure"])).toEqual(new Set(["task_struct"]));
  });
});

describe("on this host", () => {
  it("says one line per check, each with its level, and cures on lines of their own", async () => {
    const { status, stdout, stderr } = await cli(["doctor", "-v"]);
    expect(stderr).toBe("");
    for (const line of stdout.trimEnd().split("\n"))
      expect(line).toMatch(/^(ok {4}|warn {2}|bad {3}| {6})\S/);
    expect(status).toBe(/^bad/m.test(stdout) ? 1 : 0);
  });

  it("gives programs checks and facts", async () => {
    const { status, stdout } = await cli(["doctor", "-o", "json"]);
    const { healthy, checks, facts } = JSON.parse(stdout);
    expect(status).toBe(healthy ? 0 : 1);
    expect(facts.program.node).toBe(process.versions.node);
    for (const { id, level, finding } of checks) {
      expect(["ok", "warn", "bad"]).toContain(level);
      expect([typeof id, typeof finding]).toEqual(["string", "string"]);
    }
  });

  it("colours a terminal", async () => {
    expect((await onTerminal(["doctor"])).stdout).toContain(`${ESCAPE}32mok`);
  });
});
