/**
 * `explain`: where each device, queue and layer of a stack runs, and why there. From the table (what the compiler
 * decided) and the status (what the servers report). Pure.
 */

import type { Device, Table, TableLayer } from "../../compile/table.js";
import { sizeWords } from "../../layers/bytes.js";
import type { DeviceStatus, StatusItem } from "../../reconcile/status-schema.js";
import type { Colors } from "../common/terminal.js";
import { bytesText, plural } from "./amounts.js";
import { type ExplainedQueue, explainQueues, queueLines } from "./queues.js";

export interface ExplainedLayer {
  readonly name: string;
  readonly type: string;
  readonly sizeBytes: number;
  /** Whether it grows, to that size at most. */
  readonly grows: boolean;
  readonly readOnly: boolean;
  /** Steps below the root of the tree that it stands in. */
  readonly depth: number;
  /** What one request to it becomes: members with their parameters, or what a leaf stands on; may be empty. */
  readonly mapsTo: string;
  readonly geometry: TableLayer["geometry"];
}

export interface ExplainedDevice {
  readonly name: string;
  readonly frontend: "ublk" | "nbd";
  /** Why this device exists. */
  readonly why: string;
  readonly where: string | null;
  readonly serverPid: number | null;
  readonly queues: readonly ExplainedQueue[];
  readonly layers: readonly ExplainedLayer[];
}

export interface Explanation {
  readonly stack: string;
  readonly compose: "fused" | "layered";
  readonly devices: readonly ExplainedDevice[];
}

function paramsText(layer: TableLayer): string {
  const params = Object.entries(layer.params).filter(([name]) => name !== "grows");
  const words = params.map(([name, value]) =>
    name.endsWith("Bytes") && typeof value === "number"
      ? `${name.replace(/Bytes$/, "")} ${bytesText(value)}`
      : `${name} ${String(value)}`,
  );
  return words.join(", ");
}

function mapsTo(device: Device, layer: TableLayer): string {
  const params = paramsText(layer);
  if (layer.children.length === 0) return params;
  const members = layer.children.map((index) => device.layers[index]?.name ?? "?").join(", ");
  return `${members}${params === "" ? "" : ` (${params})`}`;
}

/** Layers in the order of a walk from each root; a layer that two exports show appears under both. */
function walk(device: Device): ExplainedLayer[] {
  const visit = (index: number, depth: number): ExplainedLayer[] => {
    const layer = device.layers[index];
    if (layer === undefined) return [];
    const { name, type, sizeBytes, readOnly, geometry } = layer;
    return [
      {
        name,
        type,
        sizeBytes,
        grows: layer.params.grows === true,
        readOnly,
        depth,
        mapsTo: mapsTo(device, layer),
        geometry,
      },
      ...layer.children.flatMap((child) => visit(child, depth + 1)),
    ];
  };
  return [...new Set(device.exports.map(({ root }) => root))].flatMap((root) => visit(root, 0));
}

function why(device: Device, table: Table): string {
  const openers = table.devices.filter(({ opens }) => opens.includes(device.name)).map(({ name }) => name);
  const exported = device.exports.flatMap(({ name }) => (name === null ? [] : [name]));
  const reasons: string[] = [];
  if (exported.length > 0) reasons.push(`serves ${exported.map((name) => `"${name}"`).join(", ")}`);
  if (openers.length > 0) {
    reasons.push(
      `opened by ${openers.join(", ")}${table.compose === "layered" ? " (compose: layered)" : ""}`,
    );
  }
  return reasons.join("; ");
}

function explainDevice(device: Device, table: Table, item: StatusItem): ExplainedDevice {
  const observed: DeviceStatus | undefined = item.status.devices.find(({ name }) => name === device.name);
  const uris = Object.values(item.status.exports).flatMap(({ uri, frontend }) =>
    frontend === "nbd" && uri !== null ? [uri] : [],
  );
  return {
    name: device.name,
    frontend: device.frontend,
    why: why(device, table),
    where: device.frontend === "ublk" ? (observed?.device ?? null) : uris.join(" ") || null,
    serverPid: observed?.serverPid ?? null,
    queues: explainQueues(item.status.queues.filter((queue) => queue.device === device.name)),
    layers: walk(device),
  };
}

/** Top-down, as a request travels. */
export function explain(table: Table, item: StatusItem): Explanation {
  return {
    stack: table.stack,
    compose: table.compose,
    devices: [...table.devices].reverse().map((device) => explainDevice(device, table, item)),
  };
}

function layerLine(layer: ExplainedLayer, { bold, dim }: Colors): string {
  const { geometry } = layer;
  const indent = "  ".repeat(layer.depth + 1);
  const access = layer.readOnly ? " ro" : "";
  const blocks = `block ${bytesText(geometry.logicalBlockBytes)}, io ${bytesText(geometry.ioMinBytes)}${
    geometry.ioOptBytes > 0 ? `/${bytesText(geometry.ioOptBytes)}` : ""
  }${geometry.maxDiscardBytes > 0 ? ", discards" : ""}`;
  return `${indent}${bold(layer.name)} ${layer.type} ${sizeWords(layer.sizeBytes, layer.grows, bytesText)}${access}${layer.mapsTo === "" ? "" : ` → ${layer.mapsTo}`} ${dim(`[${blocks}]`)}`;
}

/** The explanation as text. */
export function renderExplanation(explanation: Explanation, colors: Colors): string {
  const { bold, dim } = colors;
  const lines = [
    `${bold(explanation.stack)}: ${plural(explanation.devices.length, "device")}, ${explanation.compose}${
      explanation.compose === "fused"
        ? ": layers without an export of their own cost no hop"
        : ": every layer is a device"
    }`,
  ];
  for (const device of explanation.devices) {
    const server = device.serverPid === null ? "no server" : `server ${device.serverPid}`;
    lines.push("", `${bold(device.name)} ${dim("is")} ${device.frontend}, ${server}: ${device.why}`);
    if (device.where !== null) lines.push(`  at ${device.where}`);
    lines.push(...device.queues.flatMap((queue) => queueLines(queue, colors)));
    lines.push("  layers:");
    lines.push(...device.layers.map((layer) => `  ${layerLine(layer, colors)}`));
  }
  return `${lines.join("\n")}\n`;
}
