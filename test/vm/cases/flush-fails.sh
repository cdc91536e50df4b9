#!/usr/bin/env bash
# A flush that fails fails once: a page cache, and many a disk, has dropped by then what it could not write, and the next
# flush succeeds without it. So the first failure has to reach whoever flushed, or cost the mirror's member its place,
# whatever engine serves and wherever the flush was carried out.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
modprobe -a dm_mod loop

size=$((64 << 20)) sectors=$((64 << 11))
truncate -s $size good.img bad.img
good=$(losetup --direct-io=on --find --show good.img) raw=$(losetup --direct-io=on --find --show bad.img)
dmsetup create --noudevsync bad --table "0 $sectors linear $raw 0"
dmsetup mknodes
# A disk with a volatile cache: the page cache of /dev/mapper/bad.
cached=$(losetup --direct-io=off --find --show /dev/mapper/bad)
# shellcheck disable=SC2154 # $status is the exit status that the trap finds
trap 'status=$?; ((status == 0)) || tail -n 20 "$UBLK_STACK_RUN_DIR"/stacks/direct/*/log
    losetup -d $cached; dmsetup remove --noudevsync bad || true; losetup -d $good $raw' EXIT

becomes() { dmsetup suspend --noudevsync bad && dmsetup load bad && dmsetup resume --noudevsync bad; }
# 4 KiB at 1 MiB cannot be stored, or can again.
breaks() { printf '%s\n' "0 2048 linear $raw 0" '2048 8 error' "2056 $((sectors - 2056)) linear $raw 2056" | becomes; }
mends() { echo "0 $sectors linear $raw 0" | becomes; }

put() { dd if=/dev/urandom of="$dev" bs=4K count=1 seek="$1" oflag=direct"${2:-}" status=none; }
io_error() { ! "$@" 2>error && grep -q 'Input/output error' error; }
status() { ask "$device" '{"op":"status"}'; }
redirected() { status | jq "[.queues[].kernel.redirected.$1] | add"; }
errors() { status | jq '[.layers[].errors.EIO // 0] | add'; }

serve() { # DEVICE LAYERS
    device=$1
    server_config "$1" "$2" "{ \"ublk\": { \"queues\": 1, \"depth\": 32, \"id\": -1, \"engine\": \"$engine\" } }"
    [[ $(start_server "$1" | jq .ready) == true ]]
    dev=$(block_device "$1")
    [[ $(status | jq -r '.queues[0].engine') == "$engine" ]]
}
disk() { echo "{ \"name\": \"$1\", \"type\": \"block\", \"size\": $size, \"path\": \"$2\", \"params\": { \"path\": \"$2\", \"direct\": \"$3\" } }"; }

engines=$(engines_here)
for engine in $engines; do
    echo "== $engine: a disk with a cache of its own"
    serve disk "[$(disk disk "$cached" auto)]"
    put 0 && sync "$dev"
    breaks
    put 256
    io_error sync "$dev"
    (($(errors) == 1))
    show_log disk | jq -e 'select(.layer == "disk" and .errno == "EIO" and .op == "flush")' >/dev/null
    sync "$dev"
    # A durable write flushes, too.
    put 256
    io_error put 0 ,dsync
    put 0 ,dsync
    (($(errors) == 2))
    if [[ $engine == uring-bpf ]]; then
        # Two failed in the kernel. It goes on there nevertheless: the disk answers for itself.
        (($(redirected failure) == 2 && $(redirected flush) == 0))
    fi
    mends
    delete_device disk

    echo "== $engine: the same disk in a mirror"
    serve both "[{ \"name\": \"both\", \"type\": \"mirror\", \"size\": $size, \"children\": [1, 2] },
        $(disk cached "$cached" auto), $(disk good "$good" auto)]"
    in_sync() { [[ $(status | jq -c '[.mirrors[0].members[].state]') == "$1" ]]; }
    until_true 60 in_sync '["in-sync","in-sync"]'
    put 0 && sync "$dev"
    breaks
    put 256
    sync "$dev"
    in_sync '["dropped","in-sync"]'
    [[ $(status | jq -r '.mirrors[0].members[0].reason') == 'flush failed: Input/output error' ]]
    mends
    [[ $(ask both '{"op":"readd","layer":"both","member":"cached"}') == *true* ]]
    until_true 60 in_sync '["in-sync","in-sync"]'
    put 512 ,dsync
    delete_device both
    cmp good.img bad.img # not the devices, whose page caches do not see each other
    rm -r "$UBLK_STACK_STATE_DIR/stacks/direct"

    echo "== $engine: the page cache of the server's host"
    serve paged "[$(disk paged /dev/mapper/bad off)]"
    put 0 && sync "$dev"
    breaks
    put 256
    io_error sync "$dev"
    mends
    # What was lost stays lost: no flush of this server may say otherwise.
    io_error sync "$dev"
    put 256
    io_error sync "$dev"
    [[ $engine == native ]] || (($(redirected failure) == 0 && $(redirected flush) == 4))
    delete_device paged
    io_error sync "$cached" # it heard of that failure, too, and would tell the next engine
done
