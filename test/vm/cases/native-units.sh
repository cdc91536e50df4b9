#!/usr/bin/env bash
# The native unit tests that need a driver, under AddressSanitizer and UndefinedBehaviorSanitizer.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

mapfile -t names < <(sed -nE 's/^TEST\((\w+)\).*/\1/p' "$project/test/native/ublk_device_test.cc")
"$project/native/build/Sanitized/unit-tests" "${names[@]}" >units.out 2>units.err || {
    cat units.out units.err
    exit 1
}
cat units.out
grep -q "^${#names[@]} tests, 0 failed" units.out
# Where there is a driver, none of them may say that there is none.
if grep 'SKIPPED: no ublk driver' units.err; then exit 1; fi
