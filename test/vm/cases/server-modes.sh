#!/usr/bin/env bash
# The server alone, by hand-written config: every kind of layer with zero copy and with copying, queue limits as the
# layer says, flush, FUA, discard and write-zeroes, an orderly stop and another start, and nothing left behind.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 50 "$UBLK_STACK_RUN_DIR"/stacks/direct/*/log' EXIT

size=$((64 << 20))
truncate -s $size plain.img mirror.img
truncate -s $((size / 2)) s0.img s1.img
truncate -s $size /dev/shm/memory.img

leaf() { # NAME SIZE PATH [PARAMS]
    jq -nc --arg name "$1" --argjson size "$2" --arg path "$3" --argjson params "${4:-{\}}" \
        '{ name: $name, type: "file", size: $size, path: $path, params: ({ path: $path, direct: "auto" } + $params) }'
}
limit() { cat "/sys/block/${block#/dev/}/queue/$1"; }

halves="$(leaf s0 $((size / 2)) "$PWD/s0.img"), $(leaf s1 $((size / 2)) "$PWD/s1.img")"
chunk='"geometry": { "ioMinBytes": 65536, "ioOptBytes": 131072 }'

server_config null '[{ "name": "null", "type": "null", "size": 1099511627776 }]'
server_config plain "[$(leaf plain $size "$PWD/plain.img")]"
server_config memory "[$(leaf memory $size /dev/shm/memory.img | sed 's/"file"/"memory"/')]"
server_config stripe "[{ \"name\": \"stripe\", \"type\": \"stripe\", \"size\": $size, \"children\": [1, 2],
    \"params\": { \"chunkBytes\": 65536 }, $chunk }, $halves]"
server_config mirror "[{ \"name\": \"mirror\", \"type\": \"mirror\", \"size\": $size, \"children\": [1, 2] },
    { \"name\": \"wide\", \"type\": \"stripe\", \"size\": $size, \"children\": [3, 4],
      \"params\": { \"chunkBytes\": 65536 }, $chunk },
    $(leaf whole $size "$PWD/mirror.img"), ${halves//s[01].img/&.mirror}]"
cp s0.img s0.img.mirror
cp s1.img s1.img.mirror

# Pages of a tmpfs file are memory already: there is nothing to be registered. Linux before 6.16 only copies.
zero_copy=auto-zero-copy
has_feature AUTO_BUF_REG || zero_copy=copy
mode_of() { if [[ $1 == memory ]]; then echo copy; else echo $zero_copy; fi; }

for device in null plain memory stripe mirror; do
    "$server" --check-config "$(run_dir $device)/config.json"
    started=$(start_server $device)
    [[ $(jq .ready <<<"$started") == true ]]
    block=$(block_device $device)

    # Queue limits are the layer's geometry.
    [[ $(limit logical_block_size) == 512 && $(limit physical_block_size) == 4096 ]]
    [[ $(limit write_cache) == "write back" && $(limit fua) == 1 && $(limit rotational) == 0 ]]
    [[ $(limit discard_max_hw_bytes) == $((1 << 30)) && $(limit write_zeroes_max_bytes) == $((1 << 30)) ]]
    if [[ $device == stripe ]]; then
        [[ $(limit minimum_io_size) == 65536 && $(limit optimal_io_size) == 131072 ]]
    else
        [[ $(limit minimum_io_size) == 4096 ]]
    fi

    if [[ $device == null ]]; then
        cmp --bytes=1M "$block" /dev/zero
        dd if=/dev/urandom of="$block" bs=64K count=16 oflag=direct conv=fsync status=none
        dd if="$block" bs=1M count=1 iflag=direct status=none | cmp --bytes=1M - /dev/zero
    else
        verify "$block"
        blkdiscard --offset 1M --length 1M "$block"
        cmp --bytes=1M --ignore-initial=1M:0 "$block" /dev/zero
        blkdiscard --zeroout --offset 3M --length 64K "$block"
        cmp --bytes=64K --ignore-initial=3M:0 "$block" /dev/zero
    fi
    dd if=/dev/zero of="$block" bs=4K count=1 oflag=direct,dsync status=none

    # Stopped and started again it is the same device: what was open stays open, what waits is served.
    exec 5<"$block"
    stop_server $device
    dd of=/dev/null bs=4K count=1 iflag=direct status=none <&5 &
    waiting=$!
    again=$(start_server $device)
    [[ $(jq .id <<<"$again") == $(jq .id <<<"$started") ]]
    wait $waiting
    exec 5<&-

    status=$(ask $device '{"op":"status"}')
    [[ $(jq -r '.phase, .queues[0].copyMode, (.queues | length)' <<<"$status" | xargs) == "ready $(mode_of $device) 2" ]]
    [[ $(ask $device '{"op":"jump"}') == *'unknown op'* ]]
    pid=$(jq .pid <<<"$status")
    [[ $(</proc/"$pid"/mounts) == "ublk-stack / tmpfs"* && $(wc -l </proc/"$pid"/mounts) == 1 ]]
    # Of every thread: a capability is a thread's own. The kernel's workers (iou-…) run none of our code.
    threads=0
    for task in /proc/"$pid"/task/*; do
        [[ $(<"$task/comm") != iou-* ]] || continue
        if grep -E '^Cap(Eff|Prm|Inh):' "$task/status" | grep -v ':[[:space:]]*0*$'; then exit 1; fi
        threads=$((threads + 1))
    done
    ((threads > 3))
    echo "$device: $(mode_of $device), $(($(jq .rssBytes <<<"$status") >> 10)) KiB resident"
    delete_device $device
    [[ ! -e $block ]]
    [[ ! -e $(run_dir $device)/server.pid && ! -e $(run_dir $device)/control.sock ]]
done

cmp mirror.img <(node -e '
    const { readFileSync } = require("node:fs"), [a, b] = ["s0.img.mirror", "s1.img.mirror"].map((f) => readFileSync(f));
    for (let at = 0; at < a.length; at += 65536)
        for (const half of [a, b]) require("node:fs").writeSync(1, half, at, 65536);
')
