/**
 * qemu-io's command line and its command `open`, and what image they name.
 *
 * @typedef {object} Image
 * @property {string[]} args      for qemu-io itself: its options and the name, as the test gave them
 * @property {string[]} before    commands that open it there: `open …`, where it is not on the command line
 * @property {string[]} kept      of those, what means the same over NBD: caching, discard, read-only, …
 * @property {string | null} path what is to be served; null: it is QEMU's own matter, and `foreign` says why
 * @property {string | null} format  null: as the file's beginning says
 * @property {boolean} readOnly
 * @property {string} foreign
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";

const SHARED = {
  "read-only": { type: "boolean", short: "r" },
  snapshot: { type: "boolean", short: "s" },
  nocache: { type: "boolean", short: "n" },
  "copy-on-read": { type: "boolean", short: "C" },
  "native-aio": { type: "boolean", short: "k" },
  discard: { type: "string", short: "d" },
  cache: { type: "string", short: "t" },
  aio: { type: "string", short: "i" },
  "force-share": { type: "boolean", short: "U" },
};
const PROGRAM = {
  ...SHARED,
  cmd: { type: "string", short: "c", multiple: true },
  format: { type: "string", short: "f" },
  misalign: { type: "boolean", short: "m" },
  trace: { type: "string", short: "T" },
  object: { type: "string", multiple: true },
  "image-opts": { type: "boolean" },
  version: { type: "boolean", short: "V" },
  help: { type: "boolean", short: "h" },
};
const OPEN = { ...SHARED, options: { type: "string", short: "o", multiple: true } };

/** Options that mean the same for an NBD export as for the image behind it. */
const KEPT = ["read-only", "snapshot", "nocache", "native-aio", "discard", "cache", "aio", "misalign"];

/** Options of QEMU's block driver that change how it works, and neither what it writes nor what is read. */
const HARMLESS =
  /^((l2-|refcount-)?cache(-entry)?-size|cache-clean-interval|node-name|overlap-check(\..+)?)$/;

/**
 * @returns {{ image: Image | null, commands: string[] | null }} commands null: they come on standard input
 */
export function parseProgram(argv) {
  const { values, positionals, tokens } = parseArgs({
    args: argv,
    options: PROGRAM,
    allowPositionals: true,
    tokens: true,
  });
  if (values.version || values.help) return { image: null, commands: [] };
  const commands = values.cmd ?? null;
  if (positionals.length === 0) return { image: null, commands };
  const rest = tokens.filter((token) => token.name !== "cmd").flatMap(words);
  const image = imageOf(positionals[0], values.format ?? null, values["image-opts"] === true);
  if (values.object !== undefined) image.foreign ||= "--object";
  return { image: { ...withOptions(image, values), args: rest, before: [] }, commands };
}

/** What `open …` opens; null: nothing, it is malformed. */
export function parseOpen(command) {
  const args = command.trim().split(/\s+/).slice(1);
  try {
    const { values, positionals } = parseArgs({ args, options: OPEN, allowPositionals: true });
    if (positionals.length > 1) return null;
    const name = positionals[0] ?? "";
    const options = (values.options ?? []).join(",");
    const image = options === "" ? imageOf(name, null, false) : imageOfOptions(pairs(options), name);
    return { ...withOptions(image, values), args: [], before: [command] };
  } catch {
    return null;
  }
}

const words = (token) =>
  token.kind === "positional"
    ? [token.value]
    : token.kind === "option"
      ? [token.rawName, ...(token.value === undefined ? [] : [token.value])]
      : [];

function withOptions(image, values) {
  const kept = KEPT.filter((name) => values[name] !== undefined).flatMap((name) =>
    typeof values[name] === "string" ? [`--${name}`, values[name]] : [`--${name}`],
  );
  let { foreign } = image;
  if (values["copy-on-read"]) foreign ||= "copy-on-read is QEMU's";
  if (values["force-share"]) foreign ||= "an image that somebody else has open (-U)";
  // With -s writes go to a file of QEMU's own.
  const readOnly = values["read-only"] === true || values.snapshot === true || image.readOnly;
  return { ...image, kept, foreign, readOnly };
}

const local = (path, format, readOnly = false) => ({ path: resolve(path), format, readOnly, foreign: "" });
const strange = (foreign) => ({ path: null, format: null, readOnly: false, foreign });

function imageOf(name, format, isOptions) {
  if (isOptions) return imageOfOptions(pairs(name), "");
  if (name.startsWith("json:")) {
    try {
      return imageOfOptions(flat(JSON.parse(name.slice(5))), "");
    } catch {
      return strange("json: that is no JSON");
    }
  }
  const protocol = /^([A-Za-z0-9+.-]+):/.exec(name)?.[1];
  if (protocol === "file") return local(name.slice(5), format);
  if (protocol !== undefined) return strange(`${protocol}:`);
  if (format !== null && format !== "qcow2") return strange(`format ${format}`);
  return local(name, format);
}

/** @param {Map<string, string>} options as -blockdev has them, dots between what is nested */
function imageOfOptions(options, name) {
  const take = (key) => {
    const value = options.get(key);
    options.delete(key);
    return value;
  };
  const format = take("driver") ?? null;
  const protocol = take("file.driver") ?? "file";
  const path = take("file.filename") ?? take("filename") ?? name;
  const readOnly = take("read-only") === "on";
  if (format !== null && format !== "qcow2") return strange(`driver ${format}`);
  if (protocol !== "file") return strange(`driver ${protocol}`);
  const unknown = [...options.keys()].find((key) => !HARMLESS.test(key));
  if (unknown !== undefined) return strange(`option ${unknown}`);
  return path === "" ? strange("no file name") : local(path, format, readOnly);
}

const pairs = (text) =>
  new Map(
    text.split(/(?<!,),(?!,)/).map((pair) => {
      const at = pair.indexOf("=");
      return at < 0 ? [pair, "on"] : [pair.slice(0, at), pair.slice(at + 1).replaceAll(",,", ",")];
    }),
  );

function flat(object, prefix = "") {
  const all = Object.entries(object).flatMap(([key, value]) =>
    typeof value === "object" && value !== null
      ? [...flat(value, `${prefix}${key}.`)]
      : [[prefix + key, typeof value === "boolean" ? (value ? "on" : "off") : String(value)]],
  );
  return new Map(all);
}
