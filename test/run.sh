#!/usr/bin/env bash
# `npm test`: set up, build, and run every test. Arguments go to vitest (for example: --project unit).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*"; }

say "setting up"
bash deploy/setup.sh --build --test
say "building"
bash deploy/build.sh
say "linting"
bash deploy/lint.sh

report=$(mktemp)
trap 'rm -f "$report"' EXIT
say "testing"
status=0
npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$report" "$@" || status=$?

# One plain closing line, skipped tests counted aloud.
node -e '
  const report = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
  const skipped = report.numPendingTests + report.numTodoTests;
  if (skipped > 0) console.log(`SKIPPED: ${skipped} tests did not run on this machine; the reasons stand above`);
  console.log(`${report.numPassedTests} passed, ${report.numFailedTests} failed, ${skipped} skipped`);
  // A file that failed to load has no failed test, and no test at all is no success.
  if (!report.success || report.numPassedTests === 0) process.exitCode = 1;
' "$report" || status=1
exit "$status"
