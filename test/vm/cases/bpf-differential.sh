#!/usr/bin/env bash
# The differential test of test/bpf on this kernel, whose verifier and JIT are not the host's. Fewer cases: emulated
# processors are slow. Built by vm.test.ts, on the host.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

built=$project/native/build/Differential
vectors=()
for file in "$project"/test/vectors/*.json; do vectors+=(--vectors "$file"); done

# 77, that BPF cannot be run, is a failure here: this kernel can.
"$built/differential" --object "$built/walk_object.o" --ublk-object "$built/ublk_object.o" \
    --ublk-driver "$built/ublk_driver.o" "${vectors[@]}" \
    --cases 60000 --loads 6 --hostile 8000 --hostile-loads 2 --seed "${RANDOM}" >report.json
jq -e '.cases >= 60000 and .bpfWalks >= 60000 and .bpfHeads == .bpfWalks and .vectors > 90 and .deepest == 8
    and .walk.jitedBytes > 1000 and .heads.jitedBytes > 1000 and .walk.runs > 10 and .heads.runs > 10
    and .ublk.requests == 1800 and .ublk.jitedBytes > 1000
    and (.ublkBpf | IN("absent", "loaded"))' report.json || {
    cat report.json
    exit 1
}

# And a wrong answer is found.
status=0
"$built/differential" --object "$built/walk_object.o" --cases 5000 --hostile 0 --plant walk 2>found || status=$?
((status == 1))
grep -q 'smallest case' found
