/** What preflight sees of images, and where the names in them lead: headers are made up, files are real. */

import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../src/compile/compile.js";
import type { ImageHeader, NativeError, Qcow2Header } from "../../src/native.js";
import { imageNames } from "../../src/reconcile/image-names.js";
import { preflight } from "../../src/reconcile/preflight/preflight.js";
import { checkDocument } from "../../src/spec/index.js";
import { list, Sandbox, stack } from "./sandbox.js";

const header: Qcow2Header = {
  kind: "qcow2",
  sizeBytes: 2 ** 30,
  version: 3,
  clusterBytes: 65536,
  refcountBits: 16,
  extendedL2: false,
  compression: "zlib",
  backing: null,
  dataFile: null,
  dataFileRaw: false,
  snapshots: 0,
  bitmaps: 0,
  dirty: false,
  corrupt: false,
  lazyRefcounts: false,
};

function specOf(layers: Record<string, unknown>, exports: readonly string[], more: object = {}) {
  const document = stack("s", layers, exports);
  const { spec, findings } = checkDocument({ ...document, spec: { ...more, ...document.spec } });
  if (spec === null) throw new Error(JSON.stringify(findings));
  return spec;
}

const HOST = { ublk: true, cpus: 1 };

/** Looks at a layer "disk"; headers by file name, and whatever else is read is an error of the test. */
async function look(
  sandbox: Sandbox,
  layers: Record<string, unknown>,
  headers: Readonly<Record<string, ImageHeader | NativeError>> = {},
) {
  const spec = specOf(layers, ["disk"]);
  const read: string[] = [];
  const seen = await preflight({
    spec,
    baseDir: sandbox.data,
    paths: sandbox.paths,
    uid: 0,
    stacks: [],
    readHeader: async (path) => {
      read.push(path.slice(sandbox.data.length + 1));
      const found = headers[read.at(-1) ?? ""];
      if (found === undefined) throw new Error(`nobody asked for ${path}`);
      if (found instanceof Error) throw found;
      return found;
    },
  });
  const { table, findings } = compile(spec, { media: seen.media, host: HOST });
  const messages = [...seen.findings, ...findings].map(({ code, message }) => `${code}: ${message}`);
  return { ...seen, table, messages, read };
}

const disk = (options: object = {}) => ({
  disk: { qcow2: { base: { file: { path: "disk.qcow2" } }, size: "1GiB", ...options } },
});

const put = (sandbox: Sandbox, ...names: string[]) => {
  for (const name of names) {
    writeFileSync(join(sandbox.data, name), "");
    truncateSync(join(sandbox.data, name), 2 ** 20);
  }
};

describe("an image at the path of a file", () => {
  it("that is missing is blank, and nothing is read or made", async () => {
    const sandbox = new Sandbox();
    const { messages, missing, read, table, media } = await look(sandbox, disk());
    expect(messages).toEqual([]);
    expect([...missing]).toEqual(["disk.0"]);
    expect(media.get("disk.0")?.image).toEqual({ kind: "blank" });
    expect(table?.devices[0]?.layers[1]).toMatchObject({ name: "disk.0", sizeBytes: 2 ** 52 });
    expect({ read, files: list(sandbox.data) }).toEqual({ read: [], files: [] });
  });

  it("needs a folder that files may be made in", async () => {
    const sandbox = new Sandbox();
    const base = { file: { path: "none/disk.qcow2" } };
    expect((await look(sandbox, disk({ base }))).messages).toEqual([
      `path-missing: folder "${sandbox.data}/none" does not exist`,
    ]);
  });

  it("that must not be made is missing once", async () => {
    const base = { file: { path: "disk.qcow2", create: "never" } };
    expect((await look(new Sandbox(), disk({ base }))).messages).toEqual([
      'path-missing: file "disk.qcow2" of layer "disk.0" does not exist, and create: never forbids to make it',
    ]);
  });

  it("has the size of its disk", async () => {
    const sandbox = new Sandbox();
    put(sandbox, "disk.qcow2");
    const { messages, table } = await look(
      sandbox,
      { disk: { qcow2: { base: { file: { path: "disk.qcow2" } } } } },
      { "disk.qcow2": header },
    );
    expect(messages).toEqual([]);
    expect(table?.devices[0]?.layers[0]?.sizeBytes).toBe(2 ** 30);
  });

  it("that cannot be read is said to be so", async () => {
    const sandbox = new Sandbox();
    put(sandbox, "disk.qcow2");
    const error = Object.assign(new Error("read"), { code: "EIO", op: "pread" });
    expect((await look(sandbox, disk(), { "disk.qcow2": error })).messages).toEqual([
      `permission-denied: "${sandbox.data}/disk.qcow2" cannot be read: EIO`,
    ]);
  });

  it("is looked at under formats alone", async () => {
    const sandbox = new Sandbox();
    put(sandbox, "disk.img");
    const { read } = await look(sandbox, { disk: { file: { path: "disk.img" } } });
    expect(read).toEqual([]);
  });
});

describe("the name of a backing", () => {
  const golden = { file: { path: "images/golden.raw" } };
  const layers = disk({ base: { file: { path: "images/disk.qcow2" } }, backing: golden });

  const says = async (name: string, make: (sandbox: Sandbox) => void = () => undefined) => {
    const sandbox = new Sandbox();
    mkdirSync(join(sandbox.data, "images"));
    put(sandbox, "images/golden.raw", "images/disk.qcow2", "silver.raw");
    make(sandbox);
    const backing = { name: name.replace("DATA", sandbox.data), format: "raw" };
    const { messages, read } = await look(sandbox, layers, {
      "images/disk.qcow2": { ...header, backing },
      "images/golden.raw": { kind: "other" },
    });
    // Nothing but what the stack file names is opened, wherever a header leads.
    expect(read.sort()).toEqual(["images/disk.qcow2", "images/golden.raw"]);
    return messages.map((message) => message.replaceAll(sandbox.data, "DATA"));
  };

  it.each([
    ["a path in the image's folder", "golden.raw"],
    ["a way round", "../images/./golden.raw"],
    ["an absolute path", "DATA/images/golden.raw"],
    ["a path as QEMU may have it", "file:golden.raw"],
  ])("is %s", async (_, name) => {
    expect(await says(name)).toEqual([]);
  });

  it("is a link, too", async () => {
    const make = ({ data }: Sandbox) => symlinkSync("images/golden.raw", join(data, "link"));
    expect(await says("../link", make)).toEqual([]);
  });

  it.each([
    ["another file", "../silver.raw", "..."],
    ["nothing", "images/golden.raw", ", where nothing is"],
  ])("may lead to %s, which is refused", async (_, name, where) => {
    expect(await says(name)).toEqual([
      `image-differs: the image "images/disk.qcow2" has the backing "${name}"${where.replace("...", "")}, and "disk" names "images/golden.raw"`,
    ]);
  });

  it.each(["nbd://127.0.0.1/x", 'json:{"file.filename":"golden.raw"}', "ublk-stack:golden"])(
    "is not followed where it is %s",
    async (name) => {
      expect(await says(name)).toEqual([
        expect.stringContaining("which is no path of a file and is not followed"),
      ]);
    },
  );

  it("may be of any bytes", async () => {
    expect(await says("a\0b")).toEqual([
      expect.stringContaining('has the backing "a\\u0000b", where nothing is'),
    ]);
  });
});

describe("the name that a server is told of a layer that it opens as a device", () => {
  const paths = (table: NonNullable<ReturnType<typeof compile>["table"]>) =>
    Object.fromEntries(
      table.devices.flatMap((device) =>
        device.layers.flatMap(({ name, params }) =>
          params.path === undefined ? [] : [[name, `/srv/${params.path}`] as const],
        ),
      ),
    );
  const names = (backing: object, more: object = {}) => {
    const spec = specOf({ golden: backing, ...disk({ backing: "golden" }) }, ["golden", "disk"], more);
    const { table, findings } = compile(spec, { media: new Map(), host: HOST });
    const device = table?.devices.find(({ name }) => name === "disk");
    if (table === null || device === undefined) throw new Error(JSON.stringify(findings));
    return imageNames(device, table, paths(table));
  };
  const base = { file: { path: "golden.qcow2" } };

  it("is the path of a file", () => {
    const file = { file: { path: "golden.raw", size: "1GiB" } };
    expect(names(file)).toEqual({ golden: { name: "/srv/golden.raw", format: "raw" } });
  });

  it("is the path of the image's file", () => {
    expect(names({ qcow2: { base, size: "1GiB" } })).toEqual({
      golden: { name: "/srv/golden.qcow2", format: "qcow2" },
    });
  });

  it("is the same where the file is a device of its own", () => {
    const fixed = { file: { path: "golden.qcow2", size: "2GiB" } };
    expect(names({ qcow2: { base: fixed, size: "1GiB" } }, { compose: "layered" }).golden).toEqual({
      name: "/srv/golden.qcow2",
      format: "qcow2",
    });
  });

  it("is the layer's own where it is made of more", () => {
    const member = { file: { path: "a", size: "1GiB" } };
    expect(names({ mirror: { members: [member, { memory: { size: "1GiB" } }] } })).toEqual({
      golden: { name: "ublk-stack:golden", format: "raw" },
    });
  });

  it("is told of devices only", () => {
    const table = compile(specOf(disk(), ["disk"]), { media: new Map(), host: HOST }).table;
    const [device] = table?.devices ?? [];
    if (table === null || device === undefined) throw new Error("refused");
    expect(imageNames(device, table, paths(table))).toEqual({});
  });
});
