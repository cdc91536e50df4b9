/**
 * Every error has its home here: a code that programs can rely on, what it means, and how to cure it.
 * docs/errors.md is generated from this list (npm run generate), and a test keeps the two equal.
 */

/** What the process exits with: 2 when the invocation or the file is at fault and nothing was changed, else 1. */
export type ExitCode = 1 | 2;

export interface ErrorEntry {
  /** What happened, in a few words. */
  readonly title: string;
  /** What the reader can do about it. */
  readonly cure: string;
  readonly exit: ExitCode;
}

/** Groups are the chapters of docs/errors.md. */
export const ERROR_GROUPS = {
  "The text": {
    "yaml-syntax": {
      title: "The text is not valid YAML",
      cure: "Mend the line that is shown. Indent with spaces, and put text that holds ': ' or '#' in quotes.",
      exit: 2,
    },
    "duplicate-key": {
      title: "A key stands twice in the same mapping",
      cure: "Keep one of the two: YAML gives no order in which one would win.",
      exit: 2,
    },
    "key-not-text": {
      title: "A key is not plain text",
      cure: "Use a name as the key; put it in quotes if it looks like a number, true, false or null.",
      exit: 2,
    },
    "input-too-large": {
      title: "The text is larger than a stack may be",
      cure: "A file of stacks holds at most 1 MiB. Split it into several files.",
      exit: 2,
    },
    "too-many-aliases": {
      title: "Aliases expand to too much",
      cure: "Write the repeated part out, or refer to it fewer times. An alias must not stand inside its own anchor.",
      exit: 2,
    },
    "unsupported-yaml": {
      title: "A part of YAML that stacks do not use",
      cure: "Use plain mappings, lists, text, numbers and booleans: no tags, no directives but %YAML 1.2.",
      exit: 2,
    },
    "no-document": {
      title: "The text holds no stack",
      cure: "Write one: see stacks/ for examples that are short and complete.",
      exit: 2,
    },
  },
  "The document": {
    "unknown-key": {
      title: "A key that the schema does not know",
      cure: "Correct or remove the key. `ublk-stack schema` prints every key that there is.",
      exit: 2,
    },
    "missing-key": {
      title: "A key that must be there is missing",
      cure: "Add the key; docs/spec.md says what it means.",
      exit: 2,
    },
    "wrong-type": {
      title: "A value of the wrong kind",
      cure: "Give the kind of value that the message expects. Text that looks like a number needs quotes.",
      exit: 2,
    },
    "bad-value": {
      title: "A value that is not among those allowed",
      cure: "Use one of the values that the message lists.",
      exit: 2,
    },
    "out-of-range": {
      title: "A number or list outside its range",
      cure: "Stay within the range that the message gives.",
      exit: 2,
    },
    "bad-size": {
      title: "Not a size",
      cure: "Give a whole number of bytes, or a whole number with KiB, MiB, GiB or TiB: 4096, 64KiB, 10GiB.",
      exit: 2,
    },
    "size-not-multiple": {
      title: "A size is not a multiple of the block size",
      cure: "Round the size to the block size, or choose a smaller block size.",
      exit: 2,
    },
    "not-power-of-two": {
      title: "A size must be a power of two",
      cure: "Use the nearest power of two that the message suggests.",
      exit: 2,
    },
    "bad-name": {
      title: "Not a valid name",
      cure: "Names are DNS labels: 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends.",
      exit: 2,
    },
    "wrong-version": {
      title: "An apiVersion or kind that this program does not read",
      cure: "Use apiVersion: ublk-stack/v1 and kind: Stack, or a newer ublk-stack.",
      exit: 2,
    },
    "layer-without-type": {
      title: "A layer does not say what it is",
      cure: "Give the layer exactly one type key, such as file, stripe or mirror.",
      exit: 2,
    },
    "layer-with-types": {
      title: "A layer says that it is several things",
      cure: "Split it into several layers, one type key in each.",
      exit: 2,
    },
  },
  "The graph": {
    "no-export": {
      title: "A stack exports nothing",
      cure: "Name at least one layer under spec.exports: without an export nobody can reach the data.",
      exit: 2,
    },
    "unknown-layer": {
      title: "A name that is no layer of this stack",
      cure: "Correct the name, or define the layer under spec.layers.",
      exit: 2,
    },
    "member-twice": {
      title: "A writable layer feeds two parents, or one parent twice",
      cure: "Give each parent a layer of its own, or make the shared layer readOnly: true.",
      exit: 2,
    },
    cycle: {
      title: "Layers contain each other",
      cure: "Break the cycle that is shown: a layer cannot be its own member, directly or through others.",
      exit: 2,
    },
    "too-deep": {
      title: "Layers stand too deep",
      cure: "Use at most 8 levels between an export and a leaf, both counted.",
      exit: 2,
    },
    "too-many-members": {
      title: "A layer has too many members",
      cure: "A layer takes 32 members; group them: a linear or stripe of several stripes.",
      exit: 2,
    },
    "too-many-layers": {
      title: "A device is made of too many layers",
      cure: "A device holds 64 layers and 256 links between them. Export a layer in the middle to cut it in two.",
      exit: 2,
    },
    "unused-layer": {
      title: "A layer that nothing uses",
      cure: "Export it, make it a member, or remove it: it is not served.",
      exit: 2,
    },
    "unused-option": {
      title: "An option that nothing goes by",
      cure: "Remove it, or say where it is to be used.",
      exit: 2,
    },
    "duplicate-export": {
      title: "A layer has two exports on ublk",
      cure: "A layer is one ublk device. Remove one export, or give it frontend: nbd.",
      exit: 2,
    },
    "export-not-writable": {
      title: "A writable export of something that cannot be written",
      cure: "Leave readOnly out or set it to true: a read-only layer, or one that another layer is made of, is exported read-only.",
      exit: 2,
    },
    "duplicate-stack": {
      title: "Two documents describe the same stack",
      cure: "Give each a metadata.name of its own, or remove one of them.",
      exit: 2,
    },
    "path-twice": {
      title: "Two writable layers use the same path",
      cure: "Give each layer a file or device of its own, or make both readOnly: true.",
      exit: 2,
    },
  },
  "Sizes and geometry": {
    "size-too-small": {
      title: "A layer would be empty",
      cure: "Every member must hold at least one chunk (stripe) or one block.",
      exit: 2,
    },
    "size-too-large": {
      title: "A layer is too large to map",
      cure: "Offsets are signed 64-bit and stay exact up to 8 PiB; use smaller or fewer members.",
      exit: 2,
    },
    "unequal-members": {
      title: "Members of unequal size waste space",
      cure: "Make the members equal, or accept the bytes that the message counts as lost.",
      exit: 2,
    },
    "block-size-mismatch": {
      title: "Members with different block sizes",
      cure: "The layer takes the largest. Give the members the same blockSize where the media allow it.",
      exit: 2,
    },
    "chunk-misaligned": {
      title: "A chunk does not fit the media below",
      cure: "Use a chunk that is a multiple of the members' physical block size and preferred request.",
      exit: 2,
    },
    "discard-lost": {
      title: "A member that cannot discard switches it off for the layer",
      cure: "Use members that all discard, or accept that freed space is not returned.",
      exit: 2,
    },
    "volatile-member": {
      title: "A member that a reboot empties makes its layer forget",
      cure: "Use members that all survive a reboot, or put the memory layer into a mirror with one that does.",
      exit: 2,
    },
    "layered-without-ublk": {
      title: "A layered stack needs ublk",
      cure: "Nothing needs to be done: the stack is served fused, with the same data. Use a ublk export to have it layered.",
      exit: 2,
    },
    "engine-without-ublk": {
      title: "Engine uring-bpf needs ublk",
      cure: "Nothing needs to be done: NBD is served by engine native, with the same data. Use a ublk export to have uring-bpf.",
      exit: 2,
    },
    "no-ublk": {
      title: "An export asks for ublk, and this host has no ublk driver",
      cure: "Load ublk_drv (modprobe ublk_drv; Linux 6.1 or newer), or use frontend: auto or nbd. `ublk-stack doctor` says more.",
      exit: 2,
    },
    "graph-mismatch": {
      title: "Layers that cannot stand on each other",
      cure: "The message names the edge and the limit; change one of its two layers.",
      exit: 2,
    },
  },
  "Files and devices": {
    "path-missing": {
      title: "A path that does not exist",
      cure: "Correct the path, create the folder, or give a file layer a size so that it is created.",
      exit: 2,
    },
    "file-without-size": {
      title: "A file is absent, and no size says how to create it",
      cure: "Correct the path, or give the layer a size.",
      exit: 2,
    },
    "no-fixed-size": {
      title: "A file that grows is used where a size is needed",
      cure: "State its size, or leave it to the format alone that stands on it.",
      exit: 2,
    },
    "not-an-image": {
      title: "There is no qcow2 image",
      cure: "Name a qcow2 image, or a layer of type qcow2 on a file or disk. `qemu-img info` knows other formats.",
      exit: 2,
    },
    "image-missing": {
      title: "There is no image, and none is made",
      cure: "Correct the path, or let the image be made: create: ifBlank, and a size.",
      exit: 2,
    },
    "image-refused": {
      title: "An image cannot be read or served",
      cure: "The message says what stands in the way. `qemu-img check`, `qemu-img amend` and `qemu-img convert` mend or change images.",
      exit: 2,
    },
    "image-differs": {
      title: "An image is not what the spec says",
      cure: "State what the image has, or leave it out: the message names both.",
      exit: 2,
    },
    "image-corrupt": {
      title: "An image contradicts itself, or is marked as corrupt",
      cure: "`ublk-stack image check` and `qemu-img check` say what is wrong; `qemu-img check -r all` repairs. readOnly: true serves what can be read.",
      exit: 2,
    },
    "image-foreign": {
      title: "An image would be made over something else",
      cure: "Name another file or device. If what it holds may go, say create: always and overwrite: true.",
      exit: 2,
    },
    "file-too-small": {
      title: "A file or device is smaller than the spec says",
      cure: "Lower the size, or make the file larger first (truncate -s). Files are never resized silently.",
      exit: 2,
    },
    "file-too-large": {
      title: "A file is larger than this file system or program can hold",
      cure: "Use a smaller size, or a file system that takes such files.",
      exit: 2,
    },
    "log-unusable": {
      title: "A log of writes cannot be used",
      cure: "For a logwrites layer: name an empty file, or one that holds a log of the same block size, which is continued. For crash: give the log that such a layer or device mapper's log-writes target wrote, with the size of the disk that it was written for.",
      exit: 2,
    },
    "size-differs": {
      title: "The media do not have the size that the spec says",
      cure: "State the real size, or leave size out.",
      exit: 2,
    },
    "not-a-file": {
      title: "A path where a regular file was meant is something else",
      cure: "Name a regular file; for a disk or partition use the layer type block.",
      exit: 2,
    },
    "not-a-block-device": {
      title: "A path where a block device was meant is something else",
      cure: "Name a block device; for a regular file use the layer type file.",
      exit: 2,
    },
    "path-in-use": {
      title: "The media are in use by something else",
      cure: "Delete the stack, unmount the file system or stop the program that the message names.",
      exit: 2,
    },
    "permission-denied": {
      title: "Not allowed to open the media",
      cure: "Run as a user who may, or change the owner or mode of the path.",
      exit: 2,
    },
    "no-space": {
      title: "No space left",
      cure: "Free space, or choose another place.",
      exit: 1,
    },
    "direct-unsupported": {
      title: "The file system does not do direct IO with this block size",
      cure: "Use direct: auto, or a blockSize of 4096.",
      exit: 2,
    },
    "io-error": {
      title: "Reading or writing the media failed",
      cure: "See `ublk-stack logs NAME` for layer, path and offset, and the kernel's log for the device.",
      exit: 1,
    },
  },
  "Plans and running stacks": {
    "data-loss": {
      title: "The change makes existing data unreadable",
      cure: "Copy the data to a new stack, or say --allow-data-loss if they may go.",
      exit: 1,
    },
    "device-in-use": {
      title: "A device is mounted or open",
      cure: "Unmount it or close it; the message names who holds it where the kernel tells.",
      exit: 1,
    },
    "stack-unknown": {
      title: "No stack of this name",
      cure: "`ublk-stack status` lists the stacks of this user; root's stacks are seen by root.",
      exit: 1,
    },
    "stack-failed": {
      title: "The stack did not become ready",
      cure: "`ublk-stack status NAME` names the layer, `ublk-stack logs NAME` what happened.",
      exit: 1,
    },
    "not-adjustable": {
      title: "A layer cannot take this while it runs",
      cure: "Change the file and apply it: `ublk-stack diff` says what that costs. `set` is for what changes without a restart.",
      exit: 1,
    },
    "not-set": {
      title: "A layer did not take its new settings",
      cure: "It goes on with those that it has, and the message says what was in the way: try again when that is over.",
      exit: 1,
    },
    "snapshot-unknown": {
      title: "No snapshot of this name",
      cure: "`ublk-stack snapshot STACK/LAYER list` lists ids and tags.",
      exit: 1,
    },
    "snapshot-exists": {
      title: "A snapshot of this name is there already",
      cure: "Choose another tag, or delete that snapshot first.",
      exit: 1,
    },
    "snapshot-ambiguous": {
      title: "A name that means several snapshots",
      cure: "Say an id that is no other snapshot's tag: `ublk-stack snapshot STACK/LAYER list` lists both.",
      exit: 1,
    },
    "snapshot-refused": {
      title: "A snapshot cannot be taken, applied or deleted as things are",
      cure: "The message says what is in the way. What cannot be done while a stack runs, `qemu-img snapshot` may do when it is deleted.",
      exit: 1,
    },
    "server-start": {
      title: "A server did not start",
      cure: "`ublk-stack logs NAME` holds its last words.",
      exit: 1,
    },
    "engine-refused": {
      title: "The engine that the file asks for cannot serve here",
      cure: "The message says what is missing, `ublk-stack doctor` what to do about it. With engine: auto the stack is served by native until then. A running ublk device whose data is copied goes on copying: delete the stack and apply it again to have it served by uring-bpf.",
      exit: 1,
    },
    "server-died": {
      title: "A server died too often and was given up",
      cure: "`ublk-stack logs NAME` says why; apply the stack again once the cause is gone.",
      exit: 1,
    },
    "address-in-use": {
      title: "A socket or port is taken",
      cure: "Choose another spec.nbd.socket or tcp, or stop what listens there.",
      exit: 1,
    },
    "member-dropped": {
      title: "A mirror lost a member",
      cure: "Replace or repair the media, then `ublk-stack apply --readd`; it is then copied in full.",
      exit: 1,
    },
    "state-corrupt": {
      title: "A state file cannot be read",
      cure: "Restore the file that the message names, or delete the stack and apply it again; data files are not touched.",
      exit: 1,
    },
    timeout: {
      title: "A bounded wait ran out",
      cure: "The message says what was waited for. --timeout gives it longer.",
      exit: 1,
    },
  },
  "Crash states": {
    "workload-failed": {
      title: "The workload of a recording did not succeed",
      cure: "Its output says why. It gets UBLK_STACK_FILE, UBLK_STACK_URI or UBLK_STACK_DEVICE; see docs/crash.md.",
      exit: 2,
    },
    "not-recordable": {
      title: "The writes to this layer cannot be recorded or rebuilt alone",
      cure: "Choose with --layer a layer below which lie all leaves that the export writes to.",
      exit: 2,
    },
  },
  "Program and host": {
    usage: {
      title: "The command was not understood",
      cure: "`ublk-stack VERB --help` lists arguments and options.",
      exit: 2,
    },
    "file-unreadable": {
      title: "A stack file cannot be read",
      cure: "Check the path and its permissions; '-' reads standard input.",
      exit: 2,
    },
    "controller-unreachable": {
      title: "The controller does not answer",
      cure: "`ublk-stack doctor` looks for the cause; `ublk-stack controller run` shows its words in the foreground.",
      exit: 1,
    },
    "controller-busy": {
      title: "Another controller or another change is at work",
      cure: "Wait for it to finish, then try again.",
      exit: 1,
    },
    "bad-request": {
      title: "A message that the controller does not understand",
      cure: "Use a CLI of the same build as the controller; `ublk-stack controller stop` lets the next apply start its own.",
      exit: 1,
    },
    "native-missing": {
      title: "The native part is not built",
      cure: "Run `npm run build`.",
      exit: 1,
    },
    "kernel-refused": {
      title: "The kernel refused a request",
      cure: "The message holds request and errno; `ublk-stack doctor` says what this kernel can do.",
      exit: 1,
    },
    internal: {
      title: "A mistake in ublk-stack itself",
      cure: "Please report it with the message and `ublk-stack doctor -o json`.",
      exit: 1,
    },
  },
} as const satisfies Record<string, Record<string, ErrorEntry>>;

type Groups = typeof ERROR_GROUPS;

/** A stable name of an error, for programs: part of the published contract. */
export type ErrorCode = { [G in keyof Groups]: keyof Groups[G] }[keyof Groups];

const ENTRIES: ReadonlyMap<string, ErrorEntry> = new Map(
  Object.values(ERROR_GROUPS).flatMap((group): [string, ErrorEntry][] => Object.entries(group)),
);

/** Every code, in the order of the catalogue. */
export const ERROR_CODES: readonly ErrorCode[] = [...ENTRIES.keys()] as ErrorCode[];

/** Whether a text from elsewhere (a server, the controller) is one of our codes. */
export function isErrorCode(text: string): text is ErrorCode {
  return ENTRIES.has(text);
}

/** The catalogue's entry of a code. */
export function errorEntry(code: ErrorCode): ErrorEntry {
  const entry = ENTRIES.get(code);
  if (entry === undefined) throw new RangeError(`no such error code: ${code}`);
  return entry;
}

/** Facts beside the message, as JSON: paths, names, errno, findings. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** The one class of the errors that we throw; everything else that is thrown is a mistake of ours. */
export class StackError extends Error {
  override readonly name = "StackError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  /** @param message one sentence that names the thing at fault; the cure comes from the catalogue */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }

  get cure(): string {
    return errorEntry(this.code).cure;
  }

  get exitCode(): ExitCode {
    return errorEntry(this.code).exit;
  }

  toJSON(): { code: ErrorCode; message: string; cure: string; details: ErrorDetails } {
    return { code: this.code, message: this.message, cure: this.cure, details: this.details };
  }
}
