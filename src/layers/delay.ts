import type { Finding } from "../spec/finding.js";
import type { DelaySpec } from "../spec/stack-spec.js";
import { rangeFindings } from "./faults.js";
import { baseOf, showsBase, stated } from "./instrument.js";
import { type LayerInput, type LayerKind, optionPath } from "./kind.js";

type Input = LayerInput<"delay">;

const OPERATIONS = ["read", "write", "flush", "discard", "writeZeroes"] as const;

/** As targets/delay/durations.h reads it. */
const said = (delay: DelaySpec | null): string | null =>
  delay === null ? null : [delay.kind, ...delay.ns].join(" ");

function check({ layer, children }: Input): Finding[] {
  return [...rangeFindings(layer, baseOf(children), layer.options), ...delayFindings(layer)];
}

function delayFindings(layer: Input["layer"]): Finding[] {
  const { options } = layer;
  const findings = OPERATIONS.flatMap((operation): Finding[] => {
    const delay = options[operation];
    if (delay?.kind === "uniform" && delay.ns[0] > delay.ns[1]) {
      return [
        {
          path: optionPath(layer, operation, "uniform"),
          at: "value",
          code: "out-of-range",
          severity: "error",
          message: `the least delay of a ${operation} is greater than the greatest`,
          expected: "the least duration first",
        },
      ];
    }
    if (delay?.kind !== "trace" || options.trace !== null) return [];
    return [
      {
        path: optionPath(layer, operation),
        at: "value",
        code: "missing-key",
        severity: "error",
        message: `layer "${layer.name}" names no trace`,
        expected: "the key trace, with the path of a file of durations",
      },
    ];
  });
  const traced = OPERATIONS.some((operation) => options[operation]?.kind === "trace");
  if (options.trace === null || traced) return findings;
  const unused: Finding = {
    path: optionPath(layer, "trace"),
    at: "key",
    code: "unused-option",
    severity: "warning",
    message: `no operation of layer "${layer.name}" goes by its trace`,
    hint: "say read: trace, for one",
  };
  return [...findings, unused];
}

/** delay: requests that take longer. */
export const delay: LayerKind<"delay"> = {
  ...showsBase,
  type: "delay",
  adjustable: [...OPERATIONS, "keepOrder", "startBytes", "lengthBytes", "seed"],
  check,
  params: ({ options }) =>
    stated({
      read: said(options.read),
      write: said(options.write),
      flush: said(options.flush),
      discard: said(options.discard ?? options.write),
      writeZeroes: said(options.writeZeroes ?? options.write),
      trace: options.trace,
      keepOrder: options.order === "keep",
      startBytes: options.start,
      lengthBytes: options.length,
      seed: options.seed,
    }),
};
