#!/usr/bin/env bash
# Builds native/build/Qcow2/{image-tool,image-edit,image-crash,repair-crash,entry-order,fuzz}. Quiet when all is well; builds only what changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
out=../../native/build/Qcow2
mkdir -p "$out"
exec 9<build.sh
flock 9
bash ../../native/build-sanitized.sh qcow2
make -j2 >"$out/build.log" 2>&1 || {
    cat "$out/build.log" >&2
    exit 1
}
