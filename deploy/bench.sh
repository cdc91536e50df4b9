#!/usr/bin/env bash
# `npm run bench`: set up, build, measure, and keep the figures in bench-results/. Arguments go to `ublk-stack bench`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash deploy/setup.sh --build --test
bash deploy/build.sh
exec node dist/cli.js bench --save bench-results "$@"
