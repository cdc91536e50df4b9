/** The one place that goes from a type's name to what it does. To add a layer, add a line here. */

import type { LayerSpec, LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import { block } from "./block.js";
import { error } from "./error.js";
import { file } from "./file.js";
import type { LayerKind } from "./kind.js";
import { linear } from "./linear.js";
import { memory } from "./memory.js";
import { mirror } from "./mirror.js";
import { nullLayer } from "./null.js";
import { partition } from "./partition.js";
import { stripe } from "./stripe.js";

const KINDS: { readonly [T in LayerType]: LayerKind<T> } = {
  file,
  block,
  memory,
  null: nullLayer,
  linear,
  stripe,
  mirror,
  partition,
  error,
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
