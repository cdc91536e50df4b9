#!/usr/bin/env bash
# The server is killed every few hundred milliseconds under fio's verification: the device recovers by itself, the
# client sees no error, every byte is right. Fused and layered; the controller is killed in between as well.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

for compose in fused layered; do
    cat >storm.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: storm }
spec:
  compose: $compose
  layers:
    d0: { file: { path: $compose-d0.img, size: 32MiB } }
    d1: { file: { path: $compose-d1.img, size: 32MiB } }
    d2: { file: { path: $compose-d2.img, size: 64MiB } }
    wide: { stripe: { members: [d0, d1], chunk: 64KiB } }
    safe: { mirror: { members: [wide, d2] } }
  exports:
    data: { layer: safe, ublk: { queues: 2, depth: 32 } }
YAML
    ublk_stack apply storm.yaml --timeout 120s
    verify "$(device storm data)" --io_size=48m --verify_backlog=64 &
    fio=$!
    kills=0
    while kill -0 "$fio" 2>/dev/null; do
        read -rt 0.4 <> <(:) || true
        # One server at random, as an out-of-memory killer would.
        victim=$(cat "$UBLK_STACK_RUN_DIR"/stacks/storm/*/server.pid 2>/dev/null | shuf -n 1)
        # A start takes seconds in this machine, most of it the verifier's; one that is never let serve is given up.
        age=$(ps -o etimes= -p "${victim:-0}" || true)
        ((${age:-0} >= 4)) && kill -KILL "$victim" 2>/dev/null && kills=$((kills + 1))
        ((kills == 5)) && pkill -KILL -f '[c]li.js controller' && kills=$((kills + 1))
    done
    wait "$fio"
    echo "$compose: $kills kills, no error, every byte verified"
    ((kills >= 2))
    ublk_stack wait --for=ready storm --timeout 60s
    ublk_stack delete storm --timeout 60s
    # Whatever was in flight at a kill has been made equal on both members.
    node "$project/test/vm/members-equal.mjs" 65536 "$compose-d2.img" "$compose-d0.img" "$compose-d1.img"
done
