#!/usr/bin/env bash
# Builds native/build/Torture/MODE/torture: `fast`, `sanitized` (ASan and UBSan), or `mutants`, which are fast/torture-NAME.
# Quiet when all is well; builds only what has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mode=${1:-fast}
goal=all
if [[ $mode == mutants ]]; then
    goal=mutants
    mode=fast
fi
out=../../native/build/Torture/$mode
mkdir -p "$out"
exec 9<build.sh
flock 9
make -j2 MODE="$mode" "$goal" >"$out/build.log" 2>&1 || {
    cat "$out/build.log" >&2
    exit 1
}
