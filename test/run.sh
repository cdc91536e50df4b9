#!/usr/bin/env bash
# `npm test`: set up, build, and run every test. Arguments go to vitest, and then one run has it all: npm test -- stripe
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*"; }

say "setting up"
bash deploy/setup.sh --build --test
say "building"
bash deploy/build.sh
say "linting"
bash deploy/lint.sh

reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
status=0

run() { # NAME [VITEST ARGUMENT…]
    local name=$1
    shift
    npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$reports/$name.json" "$@" || status=1
}

if (($# > 0)); then
    run chosen "$@"
else
    # All at once and before the first test: a build within a test's hook would run against its time limit, and against
    # the tests beside it.
    say "building what tests run"
    bash test/build.sh
    # One after the other: a virtual machine that shares its processors with other tests runs into its time limits.
    for suite in unit host vm; do
        say "testing: $suite"
        run "$suite" --project "$suite"
    done
fi
node test/closing-line.mjs "$reports"/*.json || status=1
exit "$status"
