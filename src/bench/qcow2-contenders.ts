/**
 * Who serves an image: ourselves and QEMU's two servers of NBD. All of them past the page cache and on io_uring, file by
 * file, backing files too: `cache.direct=on,aio=io_uring` there, `direct: on` here. One more is ourselves as we are by
 * default over NBD, through the page cache.
 */
import { join } from "node:path";
import { type Contender, peer } from "./peer.js";
import { onPath, type Sandbox } from "./sandbox.js";

/** An image and its backing files, the nearest first; all of them qcow2. */
export type Chain = readonly string[];

export interface Server {
  name: string;
  ours: boolean;
  start(chain: Chain): Promise<Contender>;
}

export const OURS = "ublk-stack";
export const OURS_BY_DEFAULT = "ublk-stack, page cache";

/** The whole chain as QEMU's block layer is told of it. */
function blockNode([file, ...backing]: Chain): object {
  return {
    driver: "qcow2",
    file: { driver: "file", filename: file, aio: "io_uring", cache: { direct: true, "no-flush": false } },
    backing: backing.length === 0 ? null : { ...blockNode(backing), "read-only": true },
  };
}

/** `top` over `below-1` over `below-2`, each on a file of its own. */
function layers(chain: Chain, direct: "on" | "auto"): object {
  const name = (level: number) => (level === 0 ? "top" : `below-${level}`);
  return Object.fromEntries(
    chain.flatMap((path, level) => [
      [`image-${level}`, { file: { path, direct } }],
      [
        name(level),
        {
          qcow2: {
            base: `image-${level}`,
            create: "never",
            ...(level + 1 < chain.length ? { backing: name(level + 1) } : {}),
          },
        },
      ],
    ]),
  );
}

function ourselves(sandbox: Sandbox, name: string, direct: "on" | "auto"): Server {
  return {
    name,
    ours: true,
    async start(chain) {
      await sandbox.apply("image", {
        layers: layers(chain, direct),
        exports: { data: { layer: "top", frontend: "nbd" } },
      });
      return { name, uri: await sandbox.uri("image", "data"), stop: () => sandbox.delete("image") };
    },
  };
}

function qemuStorageDaemon(folder: string): Server {
  const name = "qemu-storage-daemon";
  const socket = join(folder, "qsd.sock");
  return {
    name,
    ours: false,
    start: (chain) =>
      peer(name, socket, `nbd+unix:///data?socket=${socket}`, [
        name,
        "--blockdev",
        JSON.stringify({ ...blockNode(chain), "node-name": "disk" }),
        "--nbd-server",
        `addr.type=unix,addr.path=${socket}`,
        "--export",
        "type=nbd,id=e,node-name=disk,name=data,writable=on",
      ]),
  };
}

function qemuNbd(folder: string): Server {
  const name = "qemu-nbd";
  const socket = join(folder, "qemu-nbd.sock");
  return {
    name,
    ours: false,
    start: (chain) =>
      peer(name, socket, `nbd+unix:///data?socket=${socket}`, [
        name,
        "--cache=none",
        "--aio=io_uring",
        "--persistent",
        `--socket=${socket}`,
        "--export-name=data",
        `json:${JSON.stringify(blockNode(chain))}`,
      ]),
  };
}

/** Those that are installed, and ourselves. */
export async function servers(sandbox: Sandbox): Promise<Server[]> {
  const found = [ourselves(sandbox, OURS, "on"), ourselves(sandbox, OURS_BY_DEFAULT, "auto")];
  for (const theirs of [qemuStorageDaemon(sandbox.folder), qemuNbd(sandbox.folder)])
    if (await onPath(theirs.name)) found.push(theirs);
  return found;
}
