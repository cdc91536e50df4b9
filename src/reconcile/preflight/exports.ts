/** Findings about what exports ask for: owners, groups, and the place of the stack's NBD socket. */

import { connect } from "node:net";
import { dirname, resolve } from "node:path";
import type { Finding, StackSpec } from "../../spec/index.js";
import { MAX_SOCKET_PATH_BYTES } from "../paths.js";
import { idOf } from "./accounts.js";
import { accessError, lookAt } from "./look.js";

export async function ownerFindings(spec: StackSpec, uid: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const entry of spec.exports.values()) {
    for (const [key, kind] of [
      ["owner", "passwd"],
      ["group", "group"],
    ] as const) {
      const name = entry[key];
      if (name === null) continue;
      const at = { path: [...entry.docPath, key], at: "value", severity: "error" } as const;
      if ((await idOf(kind, name)) === null) {
        findings.push({
          ...at,
          code: "bad-value",
          message: `this host knows no ${key === "owner" ? "user" : "group"} "${name}"`,
        });
      } else if (key === "owner" && uid !== 0 && (await idOf(kind, name)) !== uid) {
        findings.push({
          ...at,
          code: "permission-denied",
          message: `only root can give export "${entry.name}" to "${name}"`,
        });
      }
    }
  }
  return findings;
}

export interface SocketQuestion {
  readonly spec: StackSpec;
  readonly baseDir: string;
  /** Absolute paths of other stacks' sockets, and whose they are. */
  readonly taken: ReadonlyMap<string, string>;
  /** What this very stack's server listens on now, if it runs. */
  readonly own: string | null;
}

/** The socket of a stack whose file names one; the default is ours to choose. */
export async function socketFindings({ spec, baseDir, taken, own }: SocketQuestion): Promise<Finding[]> {
  if (spec.nbd.socket === null) return [];
  const path = resolve(baseDir, spec.nbd.socket);
  if (path === own) return [];
  const finding = (code: Finding["code"], message: string): Finding[] => [
    { path: ["spec", "nbd", "socket"], at: "value", code, severity: "error", message },
  ];
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    return finding(
      "out-of-range",
      `socket "${path}" is longer than the ${MAX_SOCKET_PATH_BYTES} bytes that Linux takes`,
    );
  }
  const owner = taken.get(path);
  if (owner !== undefined) return finding("address-in-use", `socket "${path}" is used by stack "${owner}"`);
  const look = await lookAt(path);
  if (look.state === "obstructed") return finding("path-missing", look.message);
  if (look.state === "present") {
    if (look.kind !== "socket") return finding("address-in-use", `"${path}" is a ${look.kind}, not a socket`);
    if (await isListening(path)) return finding("address-in-use", `another program listens at "${path}"`);
  }
  const folder = dirname(look.realPath);
  const denied = await accessError(folder, "create");
  return denied === null ? [] : finding("permission-denied", `not allowed to make a socket in "${folder}"`);
}

function isListening(path: string): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(path, () => {
      socket.destroy();
      settle(true);
    });
    socket.once("error", () => settle(false));
  });
}
