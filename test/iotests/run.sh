#!/usr/bin/env bash
# `npm run iotests`: QEMU's iotests for qcow2 through our server. Without arguments all that can run, which takes an hour
# or so, and the summary; else those that are named, whatever is expected of them: npm run iotests -- 026 039
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
IOTESTS=${*:-all} exec npx --no-install vitest run --project iotests --reporter=verbose
