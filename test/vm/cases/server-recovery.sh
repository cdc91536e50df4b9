#!/usr/bin/env bash
# A server killed at any moment: under load the client sees no error and every byte is right; while starting, the next
# start cleans up or goes on; without its supervisor it still serves, and stops when asked.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 50 "$UBLK_STACK_RUN_DIR"/stacks/direct/*/log' EXIT

size=$((64 << 20))
truncate -s $size plain.img
truncate -s $size /dev/shm/memory.img
server_config plain "[{ \"name\": \"plain\", \"type\": \"file\", \"size\": $size, \"path\": \"$PWD/plain.img\",
    \"params\": { \"path\": \"plain.img\", \"direct\": \"auto\" } }]"
server_config memory "[{ \"name\": \"memory\", \"type\": \"memory\", \"size\": $size, \"path\": \"/dev/shm/memory.img\" }]"

pid_of() { cat "$(run_dir "$1")/$2.pid" 2>/dev/null; }
ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

echo "== killed under load"
for device in plain memory; do
    [[ $(start_server $device) == *'"ready":true'* ]]
    is_ready() { [[ $(ask "$device" '{"op":"status"}') == *'"phase":"ready"'* ]]; }
    keep_verifying "$(block_device $device)" --io_size=16m --verify_backlog=64
    for kills in 1 2 3; do
        until_true 60 is_ready
        read -rt 0.3 <> <(:) || true
        kill -KILL "$(pid_of $device server)"
    done
    until_true 60 is_ready
    end_verifying
    echo "$device: $kills kills, no error, every byte verified"
done

echo "== how long a killed server is missed"
block=$(block_device plain)
for _ in 1 2 3 4 5; do
    pid=$(pid_of plain server)
    begin=$(ms)
    kill -KILL "$pid"
    dd if="$block" of=/dev/null bs=4K count=1 iflag=direct status=none
    echo "$(($(ms) - begin)) ms"
done

echo "== asked to stop while it is being killed"
stop_server plain
[[ $(start_server plain) == *'"ready":true'* ]]

echo "== without a supervisor"
worker=$(pid_of plain server)
kill -KILL "$(pid_of plain supervisor)"
dd if="$(block_device plain)" of=/dev/null bs=4K count=1 iflag=direct status=none
kill -0 "$worker"
[[ $(ask plain '{"op":"stop"}') == '{"ok":true}' ]]
worker_gone() { ! kill -0 "$worker" 2>/dev/null; }
until_true 30 worker_gone
[[ $(start_server plain) == *'"ready":true'* ]]
delete_device plain
delete_device memory

echo "== killed while starting"
devices() { find /dev -maxdepth 1 -name 'ublkc[0-9]*' | wc -l; }
for delay in 0.02 0.05 0.08 0.12 0.16 0.2 0.25 0.3 0.4; do
    "$server" --config "$(run_dir plain)/config.json" 2>>"$(run_dir plain)/log" &
    supervisor=$!
    read -rt $delay <> <(:) || true
    kill -KILL $supervisor
    if pid=$(pid_of plain server); then kill -KILL "$pid" || true; fi
    wait $supervisor 2>/dev/null || true
    (($(devices) <= 1))
done
[[ $(start_server plain) == *'"ready":true'* ]]
[[ $(devices) == 1 ]]
verify "$(block_device plain)" --io_size=4m
delete_device plain
