#!/usr/bin/env bash
# A server is killed again and again under fio's verification: the device recovers by itself, the client sees no error,
# every byte is right. Fused and layered; the controller is killed in between as well.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"

# One server at random, as an out-of-memory killer would, and once it serves: one that is killed whenever it starts is
# given up.
pick_victim() {
    local run
    run=$(find "$UBLK_STACK_RUN_DIR/stacks/storm" -name control.sock -printf '%h\n' | shuf -n 1)
    victim=$(cat "$run/server.pid") || return
    [[ $victim != "${killed[$run]:-}" && $(helped "ask $run/control.sock {\"op\":\"status\"}") == *'"phase":"ready"'* ]] || return
    killed[$run]=$victim
}
declare -A killed

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
    keep_verifying "$(device storm data)" --io_size=16m --verify_backlog=64
    for kills in {1..6}; do
        until_true 120 pick_victim
        kill -KILL "$victim"
        ((kills != 3)) || pkill -KILL -f '[c]li.js controller'
    done
    end_verifying
    echo "$compose: $kills kills, no error, every byte verified"
    ublk_stack wait --for=ready storm --timeout 60s
    ublk_stack delete storm --timeout 60s
    # Whatever was in flight at a kill has been made equal on both members.
    node "$project/test/vm/members-equal.mjs" 65536 "$compose-d2.img" "$compose-d0.img" "$compose-d1.img"
done
