/** Status items as text: a table of all exports, or everything about one stack. Pure. */

import type { Condition, ExportStatus, StatusItem } from "../../reconcile/status-schema.js";
import { formatDuration } from "../common/duration.js";
import { renderTable } from "../common/table.js";
import type { Colors } from "../common/terminal.js";
import { bytesText, countText, percentText } from "./amounts.js";
import { redirectedSum } from "./queues.js";

const GOOD = new Set(["Ready", "in-sync"]);
const BAD = new Set(["Failed", "dropped", "Absent"]);

/** A phase or state in the colour of its meaning. */
export function phaseText(phase: string, { green, red, yellow }: Colors): string {
  if (GOOD.has(phase)) return green(phase);
  return BAD.has(phase) ? red(phase) : yellow(phase);
}

/** Where clients find an export: the block device with its stable name, or the NBD URI. */
export function whereText(exported: ExportStatus): string {
  if (exported.uri !== null) return exported.uri;
  if (exported.path !== null) return exported.path;
  return exported.device ?? "-";
}

function conditionWord(item: StatusItem): string {
  const words = item.status.conditions.map(({ type }) => type).filter((type) => type !== "Fused");
  return words.length === 0 ? "" : `,${[...new Set(words)].join(",")}`;
}

/** `Ready`, or `Ready,Degraded` when a condition says more. */
function statusWord(item: StatusItem, colors: Colors): string {
  const extra = conditionWord(item);
  return phaseText(item.status.phase, colors) + (extra === "" ? "" : colors.yellow(extra));
}

function exportRow(item: StatusItem, name: string, exported: ExportStatus, colors: Colors): string[] {
  return [
    item.metadata.name,
    name,
    statusWord(item, colors),
    bytesText(exported.sizeBytes),
    exported.readOnly ? "ro" : "rw",
    whereText(exported),
  ];
}

function wideCells(item: StatusItem, exported: ExportStatus): string[] {
  const servers = item.status.devices.filter(({ frontend }) => frontend === exported.frontend);
  const server =
    exported.frontend === "nbd"
      ? servers[0]
      : servers.find(({ device }) => device !== null && device === exported.device);
  return [
    exported.layer,
    item.status.compose,
    exported.device ?? "-",
    exported.clients === null ? "-" : String(exported.clients),
    server?.serverPid == null ? "-" : String(server.serverPid),
    server?.uptimeMs == null ? "-" : formatDuration(server.uptimeMs),
    server === undefined ? "-" : String(server.restarts),
    server?.rssBytes == null ? "-" : bytesText(server.rssBytes),
  ];
}

const HEAD = ["STACK", "EXPORT", "STATUS", "SIZE", "ACCESS", "WHERE"];
const WIDE_HEAD = [...HEAD, "LAYER", "COMPOSE", "DEVICE", "CLIENTS", "PID", "UP", "RESTARTS", "MEMORY"];

/** One line per export of every stack. */
export function renderStatusTable(items: readonly StatusItem[], wide: boolean, colors: Colors): string {
  const rows = items.flatMap((item) =>
    Object.entries(item.status.exports).map(([name, exported]) => {
      const row = exportRow(item, name, exported, colors);
      return wide ? [...row, ...wideCells(item, exported)] : row;
    }),
  );
  return renderTable(wide ? WIDE_HEAD : HEAD, rows, colors);
}

function conditionLine({ type, message }: Condition, colors: Colors): string {
  const word = type === "Failed" ? colors.red(type) : colors.yellow(type);
  return `  ${word}: ${message}\n`;
}

function exportsSection({ status }: StatusItem, colors: Colors): string {
  const rows = Object.entries(status.exports).map(([name, exported]) => [
    name,
    exported.layer,
    phaseText(exported.phase, colors),
    bytesText(exported.sizeBytes),
    exported.readOnly ? "ro" : "rw",
    exported.clients === null ? "-" : String(exported.clients),
    exported.device !== null && exported.path !== null
      ? `${exported.device}  ${exported.path}`
      : whereText(exported),
  ]);
  const tcp = [
    ...new Set(
      Object.values(status.exports).flatMap((exported) => (exported.tcp === null ? [] : [exported.tcp])),
    ),
  ];
  const also = tcp.length === 0 ? "" : `NBD over TCP as well: ${tcp.join(", ")}\n`;
  return (
    renderTable(["EXPORT", "LAYER", "STATUS", "SIZE", "ACCESS", "CLIENTS", "WHERE"], rows, colors) + also
  );
}

function serversSection({ status }: StatusItem, colors: Colors): string {
  const rows = status.devices.map((device) => [
    device.name,
    phaseText(device.phase, colors),
    device.serverPid === null ? "-" : String(device.serverPid),
    device.uptimeMs === null ? "-" : formatDuration(device.uptimeMs),
    String(device.restarts),
    device.rssBytes === null ? "-" : bytesText(device.rssBytes),
    device.error ?? "",
  ]);
  return renderTable(["SERVER", "STATUS", "PID", "UP", "RESTARTS", "MEMORY", ""], rows, colors);
}

function queuesSection({ status }: StatusItem, colors: Colors): string {
  const rows = status.queues.map(({ device, queue, engine, requests, inFlight, enters, kernel }) => [
    `${device}/${queue}`,
    engine,
    countText(requests),
    kernel === null ? "-" : countText(kernel.requests),
    kernel === null ? "-" : countText(redirectedSum(kernel.redirected)),
    countText(inFlight),
    countText(enters),
  ]);
  if (rows.length === 0) return "";
  return renderTable(
    ["QUEUE", "ENGINE", "REQUESTS", "IN-KERNEL", "TO-SERVER", "IN-FLIGHT", "ENTERS"],
    rows,
    colors,
  );
}

function errorsText(errors: Readonly<Record<string, number>>, colors: Colors): string {
  const words = Object.entries(errors).map(([errno, count]) => `${countText(count)} ${errno}`);
  return words.length === 0 ? "0" : colors.red(words.join(", "));
}

function layersSection({ status }: StatusItem, colors: Colors): string {
  const rows = status.layers.map((layer) => [
    layer.name,
    layer.type,
    countText(layer.reads),
    bytesText(layer.bytesRead),
    countText(layer.writes),
    bytesText(layer.bytesWritten),
    countText(layer.flushes),
    countText(layer.discards),
    errorsText(layer.errors, colors),
  ]);
  if (rows.length === 0) return "";
  return renderTable(
    ["LAYER", "TYPE", "READS", "READ", "WRITES", "WRITTEN", "FLUSHES", "DISCARDS", "ERRORS"],
    rows,
    colors,
  );
}

function mirrorsSection({ status }: StatusItem, colors: Colors): string {
  const rows = status.mirrors.flatMap(({ layer, members, sync }) =>
    members.map(({ name, state, reason }) => [
      layer,
      name,
      phaseText(state, colors) +
        (state === "syncing" && sync !== null ? ` ${percentText(sync.doneBytes, sync.totalBytes)}` : ""),
      reason ?? "",
    ]),
  );
  return rows.length === 0 ? "" : renderTable(["MIRROR", "MEMBER", "STATE", ""], rows, colors);
}

function instrumentsSection({ status }: StatusItem, colors: Colors): string {
  const words = (values: Readonly<Record<string, unknown>>) =>
    Object.entries(values)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ");
  const rows = status.instruments.map(({ layer, counts, settings }) => [
    layer,
    words(counts),
    colors.dim(words(settings)),
  ]);
  return rows.length === 0 ? "" : renderTable(["INSTRUMENT", "DID", "SETTINGS"], rows, colors);
}

/** Everything about one stack. */
export function renderStatusItem(item: StatusItem, colors: Colors): string {
  const { bold, dim } = colors;
  const { status } = item;
  const title = `${bold(item.metadata.name)}  ${statusWord(item, colors)}  ${status.compose}\n`;
  const conditions = status.conditions.map((condition) => conditionLine(condition, colors)).join("");
  const sections = [
    exportsSection(item, colors),
    mirrorsSection(item, colors),
    instrumentsSection(item, colors),
    serversSection(item, colors),
    queuesSection(item, colors),
    layersSection(item, colors),
  ].filter((section) => section !== "");
  const folder = dim(`files relative to ${status.baseDir}\nlog ${status.logFile}`);
  return `${title}${conditions}\n${sections.join("\n")}\n${folder}\n`;
}
