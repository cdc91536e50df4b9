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

node test/closing-line.mjs "$report" || status=1
exit "$status"
