#!/usr/bin/env bash
# `npm run torture`: the simulator of the data plane's crash states, optimised. Arguments go to it: -- --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash deploy/setup.sh --build --test
bash test/torture/build.sh fast
exec native/build/Torture/fast/torture "$@"
