/** STACK/LAYER on a command line. */

export interface LayerName {
  readonly stack: string;
  readonly name: string;
}

const LAYER = /^([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\/([a-z0-9][a-z0-9.-]*)$/;

/** @returns null for what cannot name a layer of a stack */
export function layerOf(word: string): LayerName | null {
  const [, stack, name] = LAYER.exec(word) ?? [];
  return stack === undefined || name === undefined ? null : { stack, name };
}
