/** What doctor knows about a host. Gathered by gather.ts, judged by checks.ts, which looks at nothing else. */

import type { EngineProbe } from "./engine-probe.js";

/** A question to the host that may fail for a reason worth saying. */
export type Answer<T> =
  | { readonly known: true; readonly value: T }
  | { readonly known: false; readonly why: string };

export interface UblkDevice {
  readonly id: number;
  /** As the driver says: "live", "quiesced", "fail-io", "dead". */
  readonly state: string;
  /** Pid of the server, or null when it has none. */
  readonly serverPid: number | null;
  /** Whether it carries this program's tag. */
  readonly ours: boolean;
  /** "STACK/DEVICE" when a stack of this user has it. */
  readonly stack: string | null;
}

export interface HostFacts {
  readonly program: { readonly version: string; readonly node: string; readonly nativeBuilt: Answer<true> };
  /** uname -r. */
  readonly kernelRelease: string;
  readonly isRoot: boolean;
  readonly ublk: {
    /** /dev/ublk-control is there. */
    readonly controlNode: boolean;
    readonly controlNodeUsable: boolean;
    /** A module of this name is built in or loaded, could be loaded, or is not there. */
    readonly module: "present" | "loadable" | "absent";
    /** Names of the driver's features; unknown before Linux 6.5. */
    readonly features: Answer<readonly string[]>;
    readonly devices: Answer<readonly UblkDevice[]>;
  };
  readonly uring: {
    /** /proc/sys/kernel/io_uring_disabled: 0 allowed, 1 for a group only, 2 off; null where there is no such switch. */
    readonly disabled: number | null;
    /** Names of operations and ring features that the data plane uses and the kernel has, and those it has not. */
    readonly probe: Answer<{ readonly have: readonly string[]; readonly lack: readonly string[] }>;
  };
  readonly bpf: {
    /** /sys/kernel/btf/vmlinux is there and can be read. */
    readonly btf: boolean;
    /** Structures of the BTF that tell an engine. */
    readonly uringOps: boolean;
    readonly ublkOps: boolean;
    /** Whether the kernel has the system call at all. */
    readonly syscall: boolean;
    /** Programs of this kind need the compiler. */
    readonly jitOff: boolean;
    /** none, integrity or confidentiality; null where the kernel knows no lockdown. */
    readonly lockdown: string | null;
    /** Names of capabilities that loading a program needs and this process has not. */
    readonly lackedCapabilities: readonly string[];
    /** What came of trying it. */
    readonly probe: Answer<EngineProbe>;
  };
  /** Soft limits; null for none. */
  readonly limits: { readonly memlockBytes: number | null; readonly openFiles: number | null };
  readonly folders: {
    readonly run: { readonly path: string; readonly fileSystem: string; readonly writable: boolean };
    readonly state: { readonly path: string; readonly fileSystem: string; readonly writable: boolean };
  };
  /** Programs that can use an NBD export, found on the PATH. */
  readonly nbdClients: readonly string[];
  /** Whether the controller answers, and its build. */
  readonly controller: Answer<{
    readonly pid: number;
    readonly version: string;
    readonly sameBuild: boolean;
  }>;
}
