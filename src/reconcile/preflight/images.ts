/** What images begin with, and where the names in them lead: read here, judged by the layers (layers/qcow2-image.ts). */

import { dirname, resolve } from "node:path";
import { type ImageFacts, type NamedFile, pathIn } from "../../layers/image.js";
import { type ImageHeader, loadNative, type NativeError } from "../../native.js";
import { lookAt } from "./look.js";

/** The addon's, but in tests. Opens nothing but that path. */
export type ReadHeader = (path: string) => Promise<ImageHeader>;

export const readHeader: ReadHeader = (path) => loadNative().imageHeader(path);

/** @param path absolute, as the stack file has it: names in the header start at its folder */
export async function imageAt(
  path: string,
  read: ReadHeader,
): Promise<ImageFacts | { readonly kind: "unreadable"; readonly message: string }> {
  const header = await read(path).catch((error: Partial<NativeError>) => {
    if (error.code === undefined || error.op === undefined) throw error;
    return { kind: "unreadable", message: `"${path}" cannot be read: ${error.code}` } as const;
  });
  if (header.kind !== "qcow2") return header;
  const named = async (name: string, format: string | null): Promise<NamedFile> => ({
    name,
    format,
    identity: await identityOf(name, dirname(path)),
  });
  const { backing, dataFile } = header;
  return {
    ...header,
    backing: backing === null ? null : await named(backing.name, backing.format),
    dataFile: dataFile === null ? null : await named(dataFile, "raw"),
  };
}

async function identityOf(name: string, folder: string): Promise<string | null> {
  const path = pathIn(name);
  if (path === null) return null;
  const look = await lookAt(resolve(folder, path));
  return look.state === "present" ? look.identity : null;
}
