#!/usr/bin/env bash
# A layer that changes bytes, on a device that moves pages and not bytes, with either engine: what it looks at is brought to
# it and back, each request once; what it does not look at passes, in the kernel where the engine is there.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
# shellcheck disable=SC2154 # $status is the exit status that the trap finds
trap 'status=$?; ((status == 0)) || tail -n 20 "$(run_dir top)/log"' EXIT

size=$((64 << 20))
truncate -s $size disk.img
layers=$(jq -nc --arg path "$PWD/disk.img" --argjson size $size '
    [{ name: "liar", type: "flakey", size: $size, children: [1], params: {} },
     { name: "disk", type: "file", size: $size, path: $path, params: { path: $path, direct: "on" } }]')
head -c 1M /dev/urandom >random

status_of() { ask top '{"op":"status"}' | jq "$1"; }
count() { status_of ".instruments[0].counts.$1"; }
# In 16 requests each, at a MiB of the device.
put() { dd if=random of="$dev" bs=64k seek=$(($1 * 16)) oflag=direct conv=notrunc status=none; }
get() { dd if="$dev" bs=64k skip=$(($1 * 16)) count=16 iflag=direct status=none; }
# differences FILE: bytes of it that are not those of random.
differences() { { cmp -l random "$1" || true; } | wc -l; }

for engine in $(engines_here); do
    echo "== $engine"
    server_config top "$layers" "{ \"ublk\": { \"queues\": 2, \"depth\": 32, \"id\": -1, \"engine\": \"$engine\", \"poll\": \"off\" } }"
    [[ $(start_server top | jq .ready) == true ]]
    [[ $(status_of '.queues[0].engine') == "\"$engine\"" ]]
    dev=$(block_device top)
    verify "$dev" --size=32m
    faults='"corruptReads.startBytes":50331648,"corruptReads.lengthBytes":1048576'
    faults+=',"corruptWrites.startBytes":52428800,"corruptWrites.lengthBytes":1048576'
    [[ $(ask top "{\"op\":\"set\",\"layer\":\"liar\",\"params\":{$faults}}") == '{"ok":true}' ]]
    keep_verifying "$dev" --size=32m --io_size=8m
    for place in 46 48 50; do put $place; done
    for place in 46 48 50; do get $place >"got.$place"; done
    [[ $(differences got.46) == 0 && $(differences got.48) == 16 && $(differences got.50) == 16 ]]
    (($(count corruptReads) == 16 && $(count corruptWrites) == 16))
    # What was corrupted on its way is corrupt, what was corrupted on its way back is not.
    ask top '{"op":"set","layer":"liar","params":{}}'
    get 48 | cmp - random
    get 50 | cmp - got.50
    end_verifying
    verify "$dev"
    delete_device top
    rm -r "$(run_dir top)"
done
