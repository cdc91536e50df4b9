#!/usr/bin/env bash
# build-sanitized.sh [GOAL]: builds native/build/Sanitized/{ublk-stack-server,unit-tests}: ASan and UBSan, every finding
# ends the program. `library`: only the objects of the data plane; `qcow2`: those of that format. Quiet when all is well;
# builds only what has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p build/Sanitized
exec 9<build-sanitized.sh
flock 9
make -f sanitized.mk -j2 "${1:-all}" >build/Sanitized/build.log 2>&1 || {
    cat build/Sanitized/build.log >&2
    exit 1
}
