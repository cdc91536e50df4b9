/** A plan as text for people: what comes, changes and goes, and why, in the order of the devices. */

import pc from "picocolors";
import type { Table } from "../compile/table.js";
import { quote } from "../spec/place.js";
import type { Change } from "./diff.js";
import { type Action, type ActionKind, hasChanges, type Impact, type Plan } from "./plan.js";

export interface RenderOptions {
  color: boolean;
  /** Says also what stays as it is. */
  unchanged?: boolean;
}

interface Look {
  symbol: string;
  verb: string;
  paint: (colors: Colors) => (text: string) => string;
}

type Colors = ReturnType<typeof pc.createColors>;

const LOOKS: Record<ActionKind, Look> = {
  none: { symbol: "  =", verb: "keep", paint: (c) => c.dim },
  adopt: { symbol: "  =", verb: "adopt", paint: (c) => c.dim },
  "create-file": { symbol: "  +", verb: "create", paint: (c) => c.green },
  start: { symbol: "  +", verb: "start", paint: (c) => c.green },
  recover: { symbol: "  ~", verb: "recover", paint: (c) => c.yellow },
  adjust: { symbol: "  ~", verb: "adjust", paint: (c) => c.yellow },
  pause: { symbol: "  ~", verb: "pause", paint: (c) => c.yellow },
  reload: { symbol: "  ~", verb: "reload", paint: (c) => c.yellow },
  recreate: { symbol: "-/+", verb: "recreate", paint: (c) => c.red },
  stop: { symbol: "  -", verb: "stop", paint: (c) => c.red },
};

const IMPACTS: Record<Impact, string> = {
  none: "",
  online: "",
  pause: "clients wait for a moment",
  interrupts: "clients are interrupted",
  "destroys-data": "DESTROYS DATA",
};

/** What the summary counts, in its order. */
const COUNTED: readonly [ActionKind, string][] = [
  ["create-file", "to create"],
  ["start", "to start"],
  ["recover", "to recover"],
  ["adjust", "to adjust"],
  ["reload", "to reload"],
  ["recreate", "to recreate"],
  ["stop", "to stop"],
];

/**
 * The plan of one stack, several lines, ending in a line feed; the same plan gives the same text.
 * @param table the desired table, for the sizes and paths of files to create
 */
export function renderPlan(stack: string, table: Table | null, plan: Plan, options: RenderOptions): string {
  const colors = pc.createColors(options.color);
  const shown = ownLines(plan).filter(
    (action) => options.unchanged === true || (action.kind !== "none" && action.kind !== "adopt"),
  );
  const lines = [colors.bold(`stack ${stack}`)];
  for (const action of shown) lines.push(...actionLines(action, table, colors));
  if (plan.blocked.length > 0) {
    lines.push("", colors.red("Blocked:"));
    for (const { message, unless } of plan.blocked) {
      const flag = unless === "force" ? "--force" : "--allow-data-loss";
      lines.push(`  ${message}`, colors.dim(`    ${flag} lets it happen`));
    }
  }
  if (lines.length > 1) lines.push("");
  lines.push(summaryLine(plan));
  return `${lines.join("\n")}\n`;
}

/** A stop or pause that only makes room for a later action on the same device is part of that one. */
function ownLines(plan: Plan): Action[] {
  const renewed = new Set(
    plan.actions.filter(({ kind }) => kind === "recreate" || kind === "reload").map(({ device }) => device),
  );
  return plan.actions.filter(
    ({ kind, device }) => !((kind === "stop" || kind === "pause") && renewed.has(device)),
  );
}

function actionLines(action: Action, table: Table | null, colors: Colors): string[] {
  const look = LOOKS[action.kind];
  const impact = IMPACTS[action.impact];
  const subject =
    action.layer === null ? deviceWords(action.device ?? "", table) : fileWords(action.layer, table);
  const head = `${look.paint(colors)(`${look.symbol} ${look.verb}`)} ${subject}: ${action.reason}`;
  const warning = action.impact === "destroys-data" ? colors.red(colors.bold(impact)) : impact;
  return [
    impact === "" ? head : `${head} (${warning})`,
    ...action.changes.map((change) => changeLine(change, colors)),
  ];
}

function changeLine({ path, before, after }: Change, colors: Colors): string {
  if (before === null) return colors.green(`      + ${path}: ${after}`);
  if (after === null) return colors.red(`      - ${path}: ${before}`);
  return colors.yellow(`      ~ ${path}: ${before || "(none)"} → ${after || "(none)"}`);
}

function deviceWords(name: string, table: Table | null): string {
  const device = table?.devices.find((other) => other.name === name);
  const exports = device?.exports.flatMap((entry) => entry.name ?? []) ?? [];
  const shown = exports.length > 0 ? ` (${exports.join(", ")})` : "";
  return name.startsWith("@") ? `NBD server${shown}` : `ublk device "${name}"${shown}`;
}

function fileWords(name: string, table: Table | null): string {
  const layer = table?.devices.flatMap((device) => device.layers).find((other) => other.name === name);
  const path = layer?.params.path;
  return path === undefined ? `layer "${name}"` : `${quote(String(path))} for layer "${name}"`;
}

function summaryLine(plan: Plan): string {
  if (!hasChanges(plan)) return "No changes.";
  const lines = ownLines(plan);
  const counts = COUNTED.flatMap(([kind, words]) => {
    const count = lines.filter((action) => action.kind === kind).length;
    return count === 0 ? [] : [`${count} ${words}`];
  });
  return `Plan: ${counts.join(", ")}.`;
}
