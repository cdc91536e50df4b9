/** Kernels that are known to hurt: what happens there, and which version has the cure. */

/** [major, minor, patch, release candidate]; a release counts as its last candidate's successor. */
type Version = readonly [number, number, number, number];

const RELEASED = Number.POSITIVE_INFINITY;

/** `6.18.4-arch1-1` → [6, 18, 4, ∞]; `7.0.0-rc2` → [7, 0, 0, 2]; null for what is no release of Linux. */
export function parseRelease(release: string): Version | null {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?(?:-rc(\d+))?/.exec(release);
  if (match === null) return null;
  const [, major = "0", minor = "0", patch = "0", candidate] = match;
  return [
    Number(major),
    Number(minor),
    Number(patch),
    candidate === undefined ? RELEASED : Number(candidate),
  ];
}

/** Negative, zero or positive, as for sort. */
export function compareVersions(a: Version, b: Version): number {
  for (const [index, part] of a.entries()) {
    const other = b[index] ?? 0;
    if (part !== other) return part < other ? -1 : 1;
  }
  return 0;
}

export interface KernelBug {
  readonly id: string;
  readonly title: string;
  readonly cure: string;
  /** Where it was reported or found. */
  readonly source: string;
  /** First and last version that has it, both included. */
  readonly from: Version;
  readonly to: Version;
  /** Narrows the range by the whole text of the release, where only a distribution's builds have the bug. */
  readonly only?: RegExp;
}

export const KERNEL_BUGS: readonly KernelBug[] = [
  {
    id: "add-dev-oops",
    title: "the first ublk device oopses the kernel (ADD_DEV dereferences NULL in ublk_init_queues)",
    cure: "boot Linux 6.18.6 or newer before using ublk; exports with frontend: nbd are safe",
    source: "actions/runner-images#14175, longhorn/longhorn#13509",
    from: [6, 18, 4, 0],
    to: [6, 18, 5, RELEASED],
  },
  {
    id: "add-dev-oops-backported",
    title: "distribution builds of 6.17 carry the change that oopses the kernel in ADD_DEV",
    cure: "boot Linux 6.18.6 or newer before using ublk; exports with frontend: nbd are safe",
    source: "actions/runner-images#14175, longhorn/longhorn#13509",
    from: [6, 17, 0, 0],
    to: [6, 17, 999, RELEASED],
    only: /^6\.17\.\d+-\d{3,}/,
  },
  {
    id: "update-size-null",
    title: "UPDATE_SIZE before START_DEV dereferences NULL; this program resizes started devices only",
    cure: "boot Linux 7.0 or newer if other ublk programs run here",
    source: "drivers/block/ublk_drv.c, mended in 7.0-rc4",
    from: [6, 16, 0, 0],
    to: [7, 0, 0, 3],
  },
];

/** The known bugs of a kernel, by its release text. */
export function bugsOf(release: string): readonly KernelBug[] {
  const version = parseRelease(release);
  if (version === null) return [];
  return KERNEL_BUGS.filter(
    ({ from, to, only }) =>
      compareVersions(version, from) >= 0 &&
      compareVersions(version, to) <= 0 &&
      (only?.test(release) ?? true),
  );
}
