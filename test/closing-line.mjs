// closing-line.mjs REPORT.json…: one plain closing line for the whole run, skipped tests counted aloud.
import { readFileSync } from "node:fs";

const reports = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
const sum = (count) => reports.reduce((total, report) => total + count(report), 0);
const passed = sum((report) => report.numPassedTests);
const failed = sum((report) => report.numFailedTests);
const skipped = sum((report) => report.numPendingTests + report.numTodoTests);

if (skipped > 0) {
  console.log(`SKIPPED: ${skipped} tests did not run on this machine; the reasons stand above`);
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
// A file that failed to load has no failed test, and a suite without a test is no success.
if (reports.length === 0 || reports.some((report) => !report.success || report.numPassedTests === 0)) {
  process.exitCode = 1;
}
