/** The one place that goes from a type's name to what it does. To add a layer, add a line here. */

import type { LayerSpec, LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import { badblocks } from "./badblocks.js";
import { block } from "./block.js";
import { cow } from "./cow.js";
import { delay } from "./delay.js";
import { error } from "./error.js";
import { file } from "./file.js";
import { flakey } from "./flakey.js";
import type { LayerKind } from "./kind.js";
import { linear } from "./linear.js";
import { logwrites } from "./logwrites.js";
import { memory } from "./memory.js";
import { mirror } from "./mirror.js";
import { nullLayer } from "./null.js";
import { partition } from "./partition.js";
import { qcow2 } from "./qcow2.js";
import { readonlyLayer } from "./readonly.js";
import { stripe } from "./stripe.js";
import { throttle } from "./throttle.js";
import { zero } from "./zero.js";

const KINDS: { readonly [T in LayerType]: LayerKind<T> } = {
  file,
  block,
  memory,
  null: nullLayer,
  zero,
  linear,
  stripe,
  mirror,
  partition,
  error,
  delay,
  throttle,
  badblocks,
  readonly: readonlyLayer,
  flakey,
  cow,
  logwrites,
  qcow2,
};

/** Every layer type that there is, in the order of the documentation. */
export const LAYER_TYPES: readonly LayerType[] = Object.keys(KINDS) as LayerType[];

/** The kind of a layer's spec. */
export function kindOf<T extends LayerType>(layer: LayerSpecOf<T> | LayerSpec): LayerKind<T> {
  return KINDS[layer.type] as LayerKind<T>;
}

/** The kind of a type that was read from a table. @throws RangeError when no layer is called that */
export function kindOfType(type: string): LayerKind<LayerType> {
  if (!Object.hasOwn(KINDS, type)) throw new RangeError(`no layer type is called ${JSON.stringify(type)}`);
  return KINDS[type as LayerType] as LayerKind<LayerType>;
}

/** See LayerKind.remembers; of a type that this build does not know, nothing else can be assumed. */
export function remembers(type: string): boolean {
  return !Object.hasOwn(KINDS, type) || kindOfType(type).remembers === true;
}

/** Names of a type's params that may change while IO runs; none of a type that this build does not know. */
export function adjustableParams(type: string): readonly string[] {
  return Object.hasOwn(KINDS, type) ? kindOfType(type).adjustable : [];
}
