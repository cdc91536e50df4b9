// closing-line.mjs REPORT.json: one plain closing line for the whole run, skipped tests counted aloud.
import { readFileSync } from "node:fs";

const report = JSON.parse(readFileSync(process.argv[2], "utf8"));
const skipped = report.numPendingTests + report.numTodoTests;
if (skipped > 0) {
  console.log(`SKIPPED: ${skipped} tests did not run on this machine; the reasons stand above`);
}
console.log(`${report.numPassedTests} passed, ${report.numFailedTests} failed, ${skipped} skipped`);
// A file that failed to load has no failed test, and no test at all is no success.
if (!report.success || report.numPassedTests === 0) process.exitCode = 1;
