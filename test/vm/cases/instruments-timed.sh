#!/usr/bin/env bash
# delay, throttle, badblocks, readonly and zero on real ublk, with either engine: verified writes go through all of them
# while they are switched off; switched on while IO runs, each does its job and no other; and what device mapper has of
# them does the same.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 20 "$(run_dir top)/log"' EXIT

size=$((64 << 20))
truncate -s $size disk.img dm.img
layers=$(jq -nc --arg path "$PWD/disk.img" --argjson size $size '
    [["slow", "delay", {}], ["limited", "throttle", {}], ["worn", "badblocks", { blockBytes: 4096 }],
     ["protected", "readonly", { enabled: false }], ["disk", "file", { path: $path, direct: "on" }]]
    | [range(0; length) as $i | .[$i] | { name: .[0], type: .[1], params: .[2], size: $size,
       children: (if $i < 4 then [$i + 1] else [] end) } + (if $i == 4 then { path: $path } else {} end)]')
nothing=$(jq -nc '[{ name: "void", type: "zero", size: 1073741824 }]')

# adjust LAYER PARAMS: while it runs.
adjust() { [[ $(ask top "{\"op\":\"set\",\"layer\":\"$1\",\"params\":$2}") == *true* ]]; }
count() { ask top '{"op":"status"}' | jq ".instruments[] | select(.layer == \"$1\") | .counts.$2"; }
reads() { dd if="$1" of=/dev/null bs=4k count=1 skip="$2" iflag=direct status=none; }
writes() { dd if=/dev/urandom of="$1" bs=4k count=1 seek="$2" oflag=direct status=none; }
refuses() { if "$@" 2>said; then return 1; else grep -q 'Input/output error' said; fi; }
# microseconds COMMAND…: how long it took.
microseconds() {
    local begin=${EPOCHREALTIME/./}
    "$@"
    echo $((${EPOCHREALTIME/./} - begin))
}
# read_times DEVICE: median and 99th percentile of the latency of a random read, in microseconds.
read_times() {
    fio --name=lat --filename="$1" --direct=1 --ioengine=io_uring --iodepth=4 --rw=randread --bs=4k --number_ios=100 \
        --size=64m --output-format=json --output=lat.json >&2
    jq -r '.jobs[0].read.clat_ns.percentile | [.["50.000000"], .["99.000000"]] | map(. / 1000 | floor) | join(" ")' lat.json
}
many() {
    fio --name=many --filename="$1" --direct=1 --ioengine=io_uring --iodepth=16 --rw="$2" --bs=4k --number_ios=41 \
        --size=64m >/dev/null
}

modprobe dm_mod
modprobe dm_delay
modprobe dm_zero
modprobe loop
loop=$(losetup --direct-io=on --find --show dm.img)
dmsetup create --noudevsync dmslow --table "0 131072 delay $loop 0 20"
dmsetup create --noudevsync dmzero --table "0 2097152 zero"
dmsetup mknodes
read -r dm_median dm_p99 < <(read_times /dev/mapper/dmslow)
read -r loop_median _ < <(read_times "$loop")
((dm_median >= 19000)) # in jiffies
echo "dm-delay: a read delayed by 20 ms is late by $((dm_median - loop_median - 20000)) µs, 99th percentile $((dm_p99 - loop_median - 20000))"
head -c 1M /dev/mapper/dmzero >zeros.dm
dmsetup remove --noudevsync dmslow
losetup -d "$loop"

run_on() {
    local engine=$1 dev
    server_config top "$layers" "{ \"ublk\": { \"queues\": 2, \"depth\": 32, \"id\": -1, \"engine\": \"$engine\", \"poll\": \"off\" } }"
    started=$(start_server top)
    if [[ $engine == uring-bpf && $(jq .ready <<<"$started") != true ]]; then
        [[ $(jq -r .error.code <<<"$started") == engine-refused && $started == *io_uring_bpf_ops* ]]
        echo "SKIPPED: this kernel has no uring-bpf"
        return
    fi
    [[ $(ask top '{"op":"status"}' | jq -r '.queues[0].engine') == "$engine" ]]
    dev=$(block_device top)
    verify "$dev"
    [[ $(ask top '{"op":"status"}' | jq '[.instruments[].counts[]] | add') == 0 ]]

    read -r plain _ < <(read_times "$dev")
    adjust slow '{"read":"fixed 20000000"}'
    read -r median p99 < <(read_times "$dev")
    echo "$engine: a read delayed by 20 ms is late by $((median - plain - 20000)) µs, 99th percentile $((p99 - plain - 20000))"
    ((median >= 20000 && $(count slow delayed) >= 100))
    writes "$dev" 1
    adjust slow '{}'

    adjust limited '{"iops":100,"burstNs":0}'
    for direction in randread randwrite; do (($(microseconds many "$dev" $direction) >= 400000)); done
    (($(count limited throttledReads) > 0 && $(count limited throttledWrites) > 0))
    # What waits goes on when the limit does not hold any more.
    adjust limited '{"writeBandwidthBytes":1,"burstNs":0}'
    many "$dev" randwrite &
    waits() { (($(ask top '{"op":"status"}' | jq '[.queues[].inFlight] | add') > 0)); }
    until_true 60 waits
    adjust limited '{}'
    wait $!

    adjust worn '{"blocks":"5,8-9","blockBytes":4096}'
    for block in 5 8 9; do refuses reads "$dev" $block; done
    for block in 4 6 7 10; do reads "$dev" $block; done
    writes "$dev" 8
    reads "$dev" 8
    refuses reads "$dev" 9
    blkdiscard --zeroout --offset 36K --length 4K "$dev"
    reads "$dev" 9
    (($(count worn clearedBlocks) == 2 && $(count worn badBlocks) == 1 && $(count worn failedReads) >= 4))
    adjust worn '{"blocks":"","blockBytes":4096}'
    reads "$dev" 5

    adjust protected '{"enabled":true}'
    refuses writes "$dev" 3
    refuses blkdiscard --offset 0 --length 4K "$dev"
    reads "$dev" 3
    adjust protected '{"enabled":false}'
    writes "$dev" 3

    verify "$dev"
    delete_device top
    rm -r "$(run_dir top)"

    # Reads as device mapper's zero, whatever was written.
    server_config top "$nothing" "{ \"ublk\": { \"queues\": 1, \"depth\": 32, \"id\": -1, \"engine\": \"$engine\", \"poll\": \"off\" } }"
    [[ $(start_server top | jq .ready) == true ]]
    dev=$(block_device top)
    [[ $(blockdev --getsize64 "$dev") == 1073741824 ]]
    dd if=/dev/urandom of="$dev" bs=64k count=4 oflag=direct status=none
    dd if="$dev" bs=64k count=16 iflag=direct status=none | cmp - zeros.dm
    delete_device top
    rm -r "$(run_dir top)"
}
run_on native
run_on uring-bpf
dmsetup remove --noudevsync dmzero
