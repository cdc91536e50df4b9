#!/usr/bin/env bash
# Builds all that tests run besides the product: sanitized, simulators, fuzzers. Tests build what they need themselves, too,
# and find it built here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build() { # SCRIPT [ARGUMENT…]
    local begin=$SECONDS
    bash "$@"
    printf 'build: %s, %d s\n' "${*%.sh}" "$((SECONDS - begin))"
}

build native/build-sanitized.sh
build test/torture/build.sh sanitized
build test/torture/build.sh fast
build test/qcow2/build.sh
build test/bpf/differential/build.sh
