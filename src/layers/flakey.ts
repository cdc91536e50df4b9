import { rangeFindings, scheduleFindings } from "./faults.js";
import { baseOf, chosen, FAULT_PARAMS, showsBase, stated } from "./instrument.js";
import type { LayerKind, Params } from "./kind.js";

const FAULTS = [
  "dropWrites",
  "tornWrites",
  "misdirectWrites",
  "corruptWrites",
  "loseFlushes",
  "misdirectReads",
  "staleReads",
  "corruptReads",
] as const;

/** A table's params are flat: the choosers of several faults lie side by side under FAULT.NAME. */
const within = (fault: string, params: Params): Params =>
  Object.fromEntries(Object.entries(params).map(([name, value]) => [`${fault}.${name}`, value]));

/** flakey: a disk that answers well and does something else. */
export const flakey: LayerKind<"flakey"> = {
  ...showsBase,
  type: "flakey",
  adjustable: [
    "seed",
    "historyBytes",
    ...FAULTS.flatMap((fault) => [...FAULT_PARAMS, "byte", "value"].map((name) => `${fault}.${name}`)),
  ],
  check: ({ layer, children }) =>
    FAULTS.flatMap((fault) => {
      const said = layer.options[fault];
      if (said === null) return [];
      return [
        ...rangeFindings(layer, baseOf(children), said, fault),
        ...scheduleFindings(layer, said, fault),
      ];
    }),
  params({ options }) {
    const faults = FAULTS.map((fault): Params => {
      const said = options[fault];
      if (said === null) return {};
      const corruption = "byte" in said ? stated({ byte: said.byte, value: said.value }) : {};
      return within(fault, { ...chosen(said), ...corruption });
    });
    return Object.assign({ seed: options.seed, historyBytes: options.history }, ...faults);
  },
};
