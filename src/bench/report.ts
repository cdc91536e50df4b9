/** The report as a table for people and as a chart; pure. */
import Table from "cli-table3";
import pc from "picocolors";
import { type Report, type Row, ratio, reached } from "./result.js";

const number = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);

const verdict = (row: Row): string => {
  const answer = reached(row);
  return answer === null ? "" : answer ? "reached" : "short";
};

/** Aligned text, coloured on request; one line per row and one per suite that could not run. */
export function renderReport(report: Report, options: { color: boolean }): string {
  const color = pc.createColors(options.color);
  const table = new Table({
    head: ["suite", "what", "unit", "ours", "peer", "", "ratio", "goal", ""],
    colAligns: ["left", "left", "left", "right", "left", "right", "right", "right", "left"],
    style: { head: options.color ? ["bold"] : [], border: options.color ? ["gray"] : [] },
  });
  for (const row of report.rows) {
    const goal = row.goal === undefined ? "" : `${row.better === "higher" ? "≥" : "≤"} ${number(row.goal)}`;
    const answer = reached(row);
    const paint = answer === null ? color.reset : answer ? color.green : color.yellow;
    table.push([
      row.suite,
      row.name,
      row.unit,
      number(row.ours),
      row.peer?.name ?? "",
      row.peer === undefined ? "" : number(row.peer.value),
      row.peer === undefined ? "" : (ratio(row) ?? 0).toFixed(2),
      goal,
      paint(verdict(row)),
    ]);
  }
  const skipped = report.skipped.map(({ suite, reason }) => `not measured: ${suite}: ${reason}`);
  return [table.toString(), ...skipped].join("\n");
}

const xml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/**
 * One bar per row that has a peer: ours as a fraction of the peer, the peer being the line at 1. Bars are turned so
 * that longer is better in every row.
 */
export function renderChart(report: Report): string {
  const rows = report.rows.filter((row) => row.peer !== undefined);
  const [left, width, step, top] = [430, 360, 26, 48];
  const gain = (row: Row): number =>
    row.better === "higher" ? (ratio(row) ?? 0) : 1 / (ratio(row) ?? Number.NaN);
  const scale = width / Math.max(2, ...rows.map(gain));
  const bars = rows.map((row, index) => {
    const y = top + index * step;
    const length = Math.max(1, gain(row) * scale);
    const fill = gain(row) >= 1 ? "#2f7d4f" : "#b3661e";
    return [
      `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${xml(`${row.name} / ${row.peer?.name ?? ""}`)}</text>`,
      `<rect x="${left}" y="${y + 2}" width="${length.toFixed(1)}" height="16" rx="2" fill="${fill}"/>`,
      `<text x="${(left + length + 6).toFixed(1)}" y="${y + 14}">${gain(row).toFixed(2)}</text>`,
    ].join("");
  });
  const height = top + rows.length * step + 16;
  const one = left + scale;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 70} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>ublk-stack against its peers</title>`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="${left}" y="20" font-size="14">ublk-stack against its peers (longer is better, 1 = the peer)</text>`,
    ...bars,
    `<line x1="${one}" y1="${top - 12}" x2="${one}" y2="${height - 10}" stroke="#444" stroke-dasharray="3 3"/>`,
    "</svg>",
    "",
  ].join("\n");
}
