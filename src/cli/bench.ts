/** `ublk-stack bench`: ourselves against peers in one run, as a table, as JSON and as a chart. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { benchCrash } from "../bench/crash.js";
import { benchDelay } from "../bench/delay.js";
import { renderEngineChart } from "../bench/engine-chart.js";
import { benchInstructions } from "../bench/instructions.js";
import { benchLatency } from "../bench/latency.js";
import { benchLifecycle } from "../bench/lifecycle.js";
import { benchNbd } from "../bench/nbd.js";
import { benchQcow2 } from "../bench/qcow2.js";
import { renderChart, renderReport } from "../bench/report.js";
import { benchRestart } from "../bench/restart.js";
import { merged, type Report, type Row } from "../bench/result.js";
import { openSandbox, type Sandbox } from "../bench/sandbox.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";

type Suite = (sandbox: Sandbox, progress: (text: string) => void) => Promise<Row[]>;

/** How much is enough: quick shows that the benchmark works, full is what figures are quoted from. */
function suites(quick: boolean, rows: readonly string[] | undefined): Record<string, Suite> {
  return {
    lifecycle: (sandbox, progress) =>
      benchLifecycle(
        sandbox,
        quick ? { rounds: 1, idleSeconds: 2 } : { rounds: 5, idleSeconds: 60 },
        progress,
      ),
    nbd: (sandbox, progress) =>
      benchNbd(
        sandbox,
        quick
          ? { rounds: 1, seconds: 1, sizeBytes: 64 << 20 }
          : { rounds: 5, seconds: 4, sizeBytes: 1 << 30 },
        progress,
      ),
    qcow2: (sandbox, progress) =>
      benchQcow2(
        sandbox,
        quick
          ? { rounds: 1, seconds: 1, sizeBytes: 64 << 20, largeBytes: 2 ** 36, rows }
          : { rounds: 5, seconds: 2, sizeBytes: 1 << 30, largeBytes: 2 ** 40, rows },
        progress,
      ),
    crash: (sandbox, progress) =>
      benchCrash(
        sandbox,
        quick
          ? {
              copyBytes: 1 << 20,
              subsets: 4,
              byHand: 3,
              checks: 5,
              rewrittenBytes: 2 << 20,
              rounds: 2,
              longByHand: 2,
            }
          : {
              copyBytes: 24 << 20,
              subsets: 64,
              byHand: 60,
              checks: 400,
              rewrittenBytes: 1 << 30,
              rounds: 64,
              longByHand: 16,
            },
        progress,
      ),
    delay: (sandbox, progress) =>
      benchDelay(sandbox, quick ? { rounds: 1, requests: 100 } : { rounds: 5, requests: 2_000 }, progress),
    instructions: (_sandbox, progress) => benchInstructions({ ios: quick ? 500 : 30_000 }, progress),
    latency: (_sandbox, progress) =>
      benchLatency(quick ? { ios: 300, rounds: 1 } : { ios: 5_000, rounds: 3 }, progress),
    restart: (_sandbox, progress) =>
      benchRestart(quick ? { rounds: 1, kills: 1 } : { rounds: 5, kills: 3 }, progress),
  };
}

export async function run({ options, rawOptions, terminal }: Invocation): Promise<ExitStatus> {
  const chosen = rawOptions.suite as readonly string[] | undefined;
  const quick = rawOptions.quick === true;
  const rows = rawOptions.rows as readonly string[] | undefined;
  const progress = (text: string) => {
    if (terminal.err.isTerminal) terminal.err.write(`\r\u001b[K${text}`);
  };
  const report: Report = {
    version: 1,
    machine: { cpus: cpus().length, kernel: release(), node: process.version },
    rows: [],
    skipped: [],
  };
  let failed = false;
  for (const [name, suite] of Object.entries(suites(quick, rows))) {
    if (chosen !== undefined && !chosen.includes(name)) continue;
    const sandbox = await openSandbox(rawOptions.folder as string | undefined);
    try {
      report.rows.push(...(await suite(sandbox, progress)));
    } catch (error) {
      // One suite that cannot run must not cost the figures of the others; it is reported, and so is the exit code.
      failed = true;
      report.skipped.push({ suite: name, reason: error instanceof Error ? error.message : String(error) });
    } finally {
      await sandbox.close();
    }
  }
  progress("");
  if (options.output === "json") {
    terminal.out.line(JSON.stringify(report, null, 2));
  } else {
    terminal.out.line(renderReport(report, { color: terminal.out.colors.isColorSupported }));
  }
  const folder = rawOptions.save as string | undefined;
  if (folder !== undefined) {
    mkdirSync(folder, { recursive: true });
    const json = join(folder, "bench.json");
    const all =
      rows !== undefined && existsSync(json)
        ? merged(JSON.parse(readFileSync(json, "utf8")) as Report, report)
        : report;
    writeFileSync(json, `${JSON.stringify(all, null, 2)}\n`);
    writeFileSync(join(folder, "bench.svg"), renderChart(all));
    writeFileSync(join(folder, "engines.svg"), renderEngineChart(all));
    const written = ["bench.json", "bench.svg", "engines.svg"].map((name) => join(folder, name));
    terminal.err.line(`written: ${written.join(", ")}`);
  }
  return failed ? 1 : 0;
}
