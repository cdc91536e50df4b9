/** A host for tests of what doctor concludes. */

import type { HostFacts } from "../../src/cli/doctor/facts.js";

export const DRIVER_FEATURES = [
  "SUPPORT_ZERO_COPY",
  "AUTO_BUF_REG",
  "BUF_REG_OFF_DAEMON",
  "USER_RECOVERY",
  "USER_RECOVERY_REISSUE",
  "CMD_IOCTL_ENCODE",
];

/** A host on which everything is as it should be. */
export const GOOD_HOST: HostFacts = {
  program: { version: "1.2.3", node: "20.0.0", nativeBuilt: { known: true, value: true } },
  kernelRelease: "7.3.4+deb13-cloud-amd64",
  isRoot: true,
  ublk: {
    controlNode: true,
    controlNodeUsable: true,
    module: "present",
    features: { known: true, value: DRIVER_FEATURES },
    devices: { known: true, value: [] },
  },
  uring: { disabled: 0, probe: { known: true, value: { have: ["READ", "WRITE"], lack: [] } } },
  bpf: {
    btf: true,
    uringOps: true,
    ublkOps: false,
    syscall: true,
    jitOff: false,
    lockdown: "none",
    lackedCapabilities: [],
    probe: { known: true, value: { works: true, reason: "it does", log: "" } },
  },
  limits: { memlockBytes: null, openFiles: 1_048_576 },
  folders: {
    run: { path: "/run/ublk-stack", fileSystem: "tmpfs", writable: true },
    state: { path: "/var/lib/ublk-stack", fileSystem: "ext4", writable: true },
  },
  nbdClients: ["nbdcopy"],
  controller: { known: true, value: { pid: 7, version: "1.2.3", sameBuild: true } },
};
