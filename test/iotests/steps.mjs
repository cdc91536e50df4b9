/**
 * qemu-io's commands, cut into steps that each have one image and one way to it.
 *
 *     through "server"   reads, writes, discards, flushes, and what is not about the image: over NBD, by our server
 *     through "qemu"     by qemu-io itself, on the file, our server having let it go: what asks for the mapping, which
 *                        an NBD export does not tell (map, alloc, info), and what NBD cannot say (compressed writes,
 *                        the state of a machine, truncate)
 */
import { parseOpen } from "./command-line.mjs";

const ASKS_MAPPING = /^(map|alloc|info)\b/;
const CANNOT_BE_SAID = [
  [/^(w|write|writev)\s(.*\s)?-[a-zA-Z]*c/, "write -c: compressed writes"],
  [/^(r|read|w|write)\s(.*\s)?-[a-zA-Z]*b/, "-b: the state of a machine"],
  [/^truncate\b/, "truncate"],
];
/** Commands about QEMU's driver itself: at breakpoints, or with other options. */
const DRIVERS_OWN = /^(break|remove_break|resume|wait_break|reopen)\b/;

/** Of commands that cannot but go to QEMU, all together. */
export const driversOwn = (commands) =>
  commands.map((command) => DRIVERS_OWN.exec(command.trim())?.[1]).find((name) => name !== undefined) ?? "";

/**
 * @param {import("./command-line.mjs").Image | null} image what is open at the beginning
 * @returns {{ image: object | null, through: "server" | "qemu", why: string, commands: string[] }[]}
 *   why: of steps through "qemu" that write
 */
export function stepsOf(image, commands) {
  const steps = [];
  let current = image;
  let fresh = image !== null; // open it, even if nothing follows
  const add = (through, why, command) => {
    const last = steps.at(-1);
    if (
      last !== undefined &&
      !fresh &&
      last.image === current &&
      last.through === through &&
      last.why === why
    )
      last.commands.push(command);
    else steps.push({ image: current, through, why, commands: [command] });
    fresh = false;
  };
  const end = () => {
    if (fresh) steps.push({ image: current, through: "server", why: "", commands: [] });
    fresh = false;
  };
  for (const line of commands) {
    const command = line.trim();
    if (/^(q|quit)$/.test(command)) break;
    const opened = /^(o|open)\s/.test(command) ? parseOpen(command) : null;
    if (opened !== null) {
      end();
      current = opened;
      fresh = true;
    } else if (/^(c|close)$/.test(command) && current !== null) {
      end();
      current = null;
    } else if (ASKS_MAPPING.test(command)) {
      add("qemu", "", command);
    } else {
      const why = CANNOT_BE_SAID.find(([pattern]) => pattern.test(command))?.[1];
      add(why === undefined ? "server" : "qemu", why ?? "", command);
    }
  }
  end();
  return steps;
}
