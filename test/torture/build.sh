#!/usr/bin/env bash
# Builds native/build/Torture/MODE/torture: `fast`, or `sanitized` (ASan and UBSan). Quiet when all is well; builds only
# what has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mode=${1:-fast}
out=../../native/build/Torture/$mode
mkdir -p "$out"
exec 9<build.sh
flock 9
make -j2 MODE="$mode" >"$out/build.log" 2>&1 || {
    cat "$out/build.log" >&2
    exit 1
}
