/** What one IO costs with each engine and with the kernel's own device, as bars; pure. */
import type { Report, Row } from "./result.js";

const JOBS = ["4 KiB random read, depth 32", "4 KiB random write, depth 32", "4 KiB random read, depth 1"];
const ENGINES = ["native", "uring-bpf"] as const;
const COLORS = { kernel: "#8a8f98", native: "#b3661e", "uring-bpf": "#2f7d4f" } as const;

const [LEFT, WIDTH, BAR, GAP, TOP] = [300, 420, 13, 10, 62];

interface Bar {
  label: string;
  kind: keyof typeof COLORS;
  value: number;
}
interface Group {
  title: string;
  bars: Bar[];
}

/** A stack of ours with one of the engines, rather than a device of the kernel. */
const isOurs = (contender: string): boolean => ENGINES.some((engine) => contender.endsWith(`-${engine}`));

const costs = (report: Report): Row[] =>
  report.rows.filter(({ suite, unit }) => suite === "instructions" && unit === "k instr/IO");

/** `block-uring-bpf: 4 KiB …` → block, for stacks of which the engines were compared. */
function stacksOf(rows: readonly Row[]): string[] {
  const names = rows
    .filter(({ peer }) => peer?.name.endsWith("-native"))
    .map(({ name }) => /^(.+)-uring-bpf: /.exec(name)?.[1])
    .filter((name) => name !== undefined);
  return [...new Set(names)];
}

function groups(report: Report): Group[] {
  const rows = costs(report);
  const value = (name: string): number | undefined =>
    rows.find((row) => row.name === name)?.ours ??
    rows.find((row) => row.peer !== undefined && `${row.peer.name}: ${row.name.split(": ")[1]}` === name)
      ?.peer?.value;
  return stacksOf(rows).flatMap((stack) =>
    JOBS.map((job): Group => {
      const kernel = rows.find(
        ({ name, peer }) => name === `${stack}-uring-bpf: ${job}` && peer !== undefined && !isOurs(peer.name),
      )?.peer;
      const bars: Bar[] =
        kernel === undefined ? [] : [{ label: kernel.name, kind: "kernel", value: kernel.value }];
      for (const engine of ENGINES) {
        const cost = value(`${stack}-${engine}: ${job}`);
        if (cost !== undefined) bars.push({ label: engine, kind: engine, value: cost });
      }
      return { title: `${stack}: ${job}`, bars };
    }),
  );
}

/** Thousands of instructions of the whole system per IO: shorter is better. */
export function renderEngineChart(report: Report): string {
  const all = groups(report);
  const most = Math.max(1, ...all.flatMap(({ bars }) => bars.map(({ value }) => value)));
  let y = TOP;
  const drawn = all.map(({ title, bars }) => {
    const middle = y + (bars.length * BAR) / 2 + 4;
    const parts = [`<text x="${LEFT - 10}" y="${middle}" text-anchor="end">${title}</text>`];
    for (const { label, kind, value } of bars) {
      const length = ((value / most) * WIDTH).toFixed(1);
      parts.push(
        `<rect x="${LEFT}" y="${y}" width="${length}" height="${BAR - 2}" fill="${COLORS[kind]}"/>`,
        `<text x="${LEFT + Number(length) + 6}" y="${y + BAR - 4}" font-size="10">${value.toFixed(1)} ${label}</text>`,
      );
      y += BAR;
    }
    y += GAP;
    return parts.join("");
  });
  const height = y + 8;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + 110} ${height}" font-family="sans-serif" font-size="11">`,
    "<title>Instructions of the whole system for one IO, by engine</title>",
    '<rect width="100%" height="100%" fill="#ffffff"/>',
    `<text x="${LEFT}" y="22" font-size="14">Thousands of instructions for one IO (shorter is better)</text>`,
    ...(Object.keys(COLORS) as (keyof typeof COLORS)[]).map(
      (kind, index) =>
        `<rect x="${LEFT + index * 130}" y="34" width="11" height="11" fill="${COLORS[kind]}"/>` +
        `<text x="${LEFT + 16 + index * 130}" y="44">${kind === "kernel" ? "the kernel's own" : kind}</text>`,
    ),
    ...drawn,
    "</svg>",
    "",
  ].join("\n");
}
