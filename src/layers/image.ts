/**
 * What a file that a format stands on begins with, as far as the format's layer and those above it ask. Gathered at
 * the edge (reconcile/preflight), so that what is said about it is pure.
 */

/** Another file that an image names in its header. */
export interface NamedFile {
  /** As the header has it; empty: the image says only that there is one. */
  readonly name: string;
  /** The format that it is said to have; null: not said. */
  readonly format: string | null;
  /** The Media's identity of the file that the name leads to; null: there is none, or it is no name of a file. */
  readonly identity: string | null;
}

/** The path in a name as QEMU reads it; null: it is none, but json:{…}, nbd://… or the like, or nothing at all. */
export function pathIn(name: string): string | null {
  const path = name.startsWith("file:") ? name.slice("file:".length) : name;
  return path === "" || /^[^/]*:/.test(path) ? null : path;
}

/** A qcow2 image that can be served. */
export interface Qcow2Image {
  readonly kind: "qcow2";
  readonly sizeBytes: number;
  readonly version: 2 | 3;
  readonly clusterBytes: number;
  readonly refcountBits: number;
  readonly extendedL2: boolean;
  readonly compression: "zlib" | "zstd";
  readonly lazyRefcounts: boolean;
  readonly corrupt: boolean;
  readonly backing: NamedFile | null;
  readonly dataFile: NamedFile | null;
}

export type ImageFacts =
  | Qcow2Image
  /** An image that cannot be served, and why: half a sentence. */
  | { readonly kind: "refused"; readonly message: string }
  /** No image, and not blank. */
  | { readonly kind: "other" }
  /** Empty, or zeros at its beginning and end; or not there. */
  | { readonly kind: "blank" };

/** The one file, or block device, that a layer is in. */
export interface SeenFile {
  /** As the stack file says it. */
  readonly path: string;
  /** What a program that opens the file has to take it for, to see the layer's bytes. */
  readonly format: "raw" | "qcow2";
  /** Equal for equal files; null while nobody looked. */
  readonly identity: string | null;
  /** null while nobody looked, or nobody needs to know. */
  readonly image: ImageFacts | null;
}
