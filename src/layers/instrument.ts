/** What instruments have in common: one base, whose bytes they show at the same places, and faults that strike requests. */

import type { LayerSpecOf, LayerType } from "../spec/stack-spec.js";
import type { Content, Keeps, LayerInput, LayerKind, Params, Shape } from "./kind.js";

/** The types whose requests go to a `base`. */
type OnBase = {
  [T in LayerType]: LayerSpecOf<T>["options"] extends { readonly base: string } ? T : never;
}[LayerType];

/** The base alone. @throws RangeError when there is none: the compiler solves children first */
export function baseOf(children: readonly Shape[]): Shape {
  const [base] = children;
  if (base === undefined) throw new RangeError("a layer on a base has one");
  return base;
}

/** A layer that changes neither size nor place nor look of its base. */
export const showsBase = {
  children: (layer: LayerSpecOf<OnBase>) => [layer.options.base],
  check: () => [],
  sizeBytes: ({ children }: LayerInput<LayerType>) => baseOf(children).sizeBytes,
  geometry: ({ children }: LayerInput<LayerType>) => ({ ...baseOf(children).geometry }),
  survivesReboot: (children: readonly Shape[]) => baseOf(children).survivesReboot,
  creatable: false,
  place: () => null,
  keeps(before: Content, after: Content, bytes: number, keeps: Keeps) {
    const [old] = before.children;
    const [fresh] = after.children;
    return (old !== undefined && fresh !== undefined && keeps(old, fresh, bytes)) || undefined;
  },
  copies: ({ children }: Content) => children.slice(0, 1),
  head: ({ children }: Content) => children[0],
} satisfies Partial<LayerKind<OnBase>>;

type Faults = Omit<LayerSpecOf<"error">["options"], "base" | "errno">;

/** Params of every layer whose faults targets/chooser.h chooses. */
export const FAULT_PARAMS = [
  "ops",
  "startBytes",
  "lengthBytes",
  "probability",
  "seed",
  "nth",
  "every",
  "limit",
  "upNs",
  "downNs",
] as const;

/** Without what the file does not say. */
export function stated(params: Readonly<Record<string, Params[string] | null>>): Params {
  return Object.fromEntries(
    Object.entries(params).filter((entry): entry is [string, Params[string]] => entry[1] !== null),
  );
}

/** As targets/chooser.h reads them. */
export function faultParams(options: Faults): Params {
  return stated({
    ops: options.ops.join(","),
    startBytes: options.start,
    lengthBytes: options.length,
    probability: options.probability,
    seed: options.seed,
    nth: options.nth,
    every: options.every,
    limit: options.limit,
    upNs: options.up,
    downNs: options.down,
  });
}
