#!/usr/bin/env bash
# What a server refuses, and in which words: wrong configs (exit 2), a device or a leaf that is in use and a number that
# is taken (exit 3). It leaves nothing behind, and every wait can be ended.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 50 "$UBLK_STACK_RUN_DIR"/stacks/direct/*/log' EXIT

size=$((8 << 20))
null='[{ "name": "n", "type": "null", "size": 8388608 }]'
truncate -s $size a.img
leaf="[{ \"name\": \"a\", \"type\": \"file\", \"size\": $size, \"path\": \"$PWD/a.img\", \"params\": { \"path\": \"a.img\" } }]"

# start_refused DEVICE STATUS PATTERN: a start that has to fail like this.
start_refused() {
    local run status=0
    run=$(run_dir "$1")
    "$server" --config "$run/config.json" --ready-fd 3 3>"$run/said" 2>>"$run/log" || status=$?
    cat "$run/said"
    [[ $status == "$2" && $(<"$run/said") == *'"ready":false'* && $(<"$run/said") =~ $3 ]]
}

echo "== wrong configs"
server_config bad '[{ "name": "n", "type": "nonsense", "size": 8388608 }]'
start_refused bad 2 nonsense
server_config bad "$null" '{ "ublk": { "depth": 5000 } }'
start_refused bad 2 out-of-range
server_config bad "$null" '{}' '{ "tag": "short" }'
start_refused bad 2 'bad-value.*tag'
server_config bad "$null" '{ "frontend": "carrier pigeon" }'
start_refused bad 2 pigeon
echo '{' >"$(run_dir bad)/config.json"
start_refused bad 2 'not JSON'
server_config bad "${leaf//a.img/absent.img}"
start_refused bad 2 'absent.img'
"$server" --frobnicate 2>/dev/null && exit 1

echo "== in use"
server_config one "$null" '{ "ublk": { "id": 7 } }'
[[ $(start_server one) == *'"id":7'* ]]
start_refused one 3 device-in-use
server_config two "$null" '{ "ublk": { "id": 7 } }'
start_refused two 3 'device-in-use.*7'
# Not a foreign device, whatever the hint in the file says.
echo '{"id":7}' >"$(run_dir two)/device.json"
start_refused two 3 'device-in-use.*7'
[[ -b /dev/ublkb7 ]]

echo "== a leaf that another server holds"
server_config holder "$leaf"
server_config waiter "$leaf" '{}' '{ "lockWaitMs": 300 }'
[[ $(start_server holder) == *'"ready":true'* ]]
start_refused waiter 2 path-in-use
server_config waiter "$leaf"
: >"$(run_dir waiter)/log"
"$server" --config "$(run_dir waiter)/config.json" 2>>"$(run_dir waiter)/log" &
waiter=$!
waits() { grep -q wait "$(run_dir waiter)/log"; }
until_true 20 waits
kill -TERM $waiter
wait $waiter # 0: asked to stop

if has_feature UPDATE_SIZE; then
    echo "== the device grows with its layer, and never shrinks"
    stop_server holder
    truncate -s $((2 * size)) a.img
    server_config holder "${leaf//$size/$((2 * size))}"
    [[ $(start_server holder) == *'"ready":true'* ]]
    [[ $(blockdev --getsize64 "$(block_device holder)") == $((2 * size)) ]]
    stop_server holder
    server_config holder "$leaf"
    start_refused holder 2 size-differs
    server_config holder "${leaf//$size/$((2 * size))}"
    [[ $(start_server holder) == *'"ready":true'* ]]
else
    echo "this kernel cannot resize a running device: not tried"
fi
delete_device holder
delete_device one
