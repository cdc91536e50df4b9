#!/usr/bin/env bash
# Builds native/build/Sanitized/{ublk-stack-server,unit-tests}: ASan and UBSan, every finding ends the program. Quiet
# when all is well; builds only what has changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p build/Sanitized
exec 9<build-sanitized.sh
flock 9
make -f sanitized.mk -j2 >build/Sanitized/build.log 2>&1 || {
    cat build/Sanitized/build.log >&2
    exit 1
}
