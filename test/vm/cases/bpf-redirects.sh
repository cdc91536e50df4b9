#!/usr/bin/env bash
# What the loop in the kernel passes on, under full load: discards that user space carries out beside fio's verified
# writes, orderly stops in the middle of it, and a next server of the other engine. Everything makes progress, nothing
# is lost, and every request is counted once.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 20 "$(run_dir wide)/log"' EXIT

half=$((64 << 20))
truncate -s $half a.img b.img
layers=$(jq -nc --arg a "$PWD/a.img" --arg b "$PWD/b.img" --argjson half $half '
    [{ name: "wide", type: "stripe", size: (2 * $half), children: [1, 2], params: { chunkBytes: 65536 },
       geometry: { ioMinBytes: 65536, ioOptBytes: 131072 } }]
    + [[$a, "a"], [$b, "b"] | { name: .[1], type: "file", size: $half, path: .[0], params: { path: .[0], direct: "on" } }]')
configure() { server_config wide "$layers" "{ \"ublk\": { \"queues\": 2, \"depth\": 32, \"id\": -1, \"engine\": \"$1\", \"poll\": \"$2\" } }"; }
queue_sum() { ask wide '{"op":"status"}' | jq "[.queues[] | $1] | add"; }

configure uring-bpf off
started=$(start_server wide)
if [[ $(jq .ready <<<"$started") != true ]]; then
    # Asked for outright, and not to be had: refused by name, and nothing left behind.
    [[ $(jq -r .error.code <<<"$started") == engine-refused && $started == *io_uring_bpf_ops* ]]
    [[ -z $(ls /dev/ublkb* 2>/dev/null) ]]
    exit
fi
dev=$(block_device wide)

keep_verifying "$dev" --iodepth=32 --bssplit=4k/60:64k/30:512k/10 --size=64m --fsync=32 --verify_backlog=128 \
    --name=discards --filename="$dev" --direct=1 --ioengine=io_uring --iodepth=32 --rw=randtrim --bs=64k --offset=64m \
    --size=64m --io_size=32m
redirected=0
for round in "native off" "uring-bpf on" "uring-bpf auto" "uring-bpf off"; do
    is_busy() { (($(queue_sum .requests) > 200)); }
    until_true 60 is_busy
    if [[ $(ask wide '{"op":"status"}' | jq -r '.queues[0].engine') == uring-bpf ]]; then
        has_passed() { (($(queue_sum '.kernel.redirected.operation') > 0)); }
        until_true 60 has_passed
        redirected=$((redirected + $(queue_sum '.kernel.redirected | add')))
    fi
    # An orderly stop: what is in flight ends, the device waits, and the next server takes it over.
    [[ $(ask wide '{"op":"stop"}') == *true* ]]
    until_true 60 supervisor_gone wide
    # shellcheck disable=SC2086 # two words
    configure $round
    [[ $(start_server wide | jq .ready) == true ]]
    [[ $(block_device wide) == "$dev" ]]
done
until_true 60 is_busy
end_verifying
echo "$redirected requests passed on"
((redirected > 0))

# Quiet: what was handled and what was passed on make up all requests; reads of one 4 KiB block are one each.
before=$(ask wide '{"op":"status"}')
fio --name=reads --filename="$dev" --direct=1 --ioengine=io_uring --iodepth=32 --rw=randread --bs=4k --size=100% \
    --number_ios=2000 --output-format=terse --minimal >/dev/null
after=$(ask wide '{"op":"status"}')
for value in requests enters; do
    declare "$value=$(($(jq "[.queues[].$value] | add" <<<"$after") - $(jq "[.queues[].$value] | add" <<<"$before")))"
done
echo "${requests:?} requests, ${enters:?} calls of io_uring_enter"
((requests >= 2000 && requests < 2200 && enters <= 2))
[[ $(jq '[.layers[] | select(.name != "wide") | .reads] | add' <<<"$after") == $(jq '.layers[0].reads' <<<"$after") ]]

# Requests that come many at a time do not each take the CPU from the task that is submitting them; single ones do.
policies() {
    local worker
    worker=$(ask wide '{"op":"status"}' | jq .pid)
    for thread in /proc/"$worker"/task/*; do
        if [[ $(<"$thread/comm") == ublk-k* ]]; then chrt -p "${thread##*/}"; fi
    done
}
reads() { fio --name=reads --filename="$dev" --direct=1 --ioengine=io_uring --rw=randread --bs=4k --size=100% "$@" >/dev/null; }
[[ $(policies) == *SCHED_BATCH* && $(jq -r '.queues[].scheduling' <<<"$after") == *batch* ]]
one_by_one() {
    for cpu in 0 1; do reads --iodepth=1 --number_ios=200 --cpus_allowed=$cpu; done
    [[ $(policies) != *SCHED_BATCH* && $(ask wide '{"op":"status"}' | jq -r '.queues[].scheduling') != *batch* ]]
}
until_true 60 one_by_one

[[ $(ask wide '{"op":"stop"}') == *true* ]]
until_true 60 supervisor_gone wide
helped "delete $(jq .id "$(run_dir wide)/device.json")"

# More pieces than the program places for one request: 64 of 4 KiB stay in the kernel, one more and all of it is passed on.
layers=$(jq -c '.[0].params.chunkBytes = 4096 | .[0].geometry = {}' <<<"$layers")
configure uring-bpf auto
[[ $(start_server wide | jq .ready) == true ]]
dev=$(block_device wide)
verify "$dev" --bssplit=4k/40:64k/20:256k/20:260k/10:1m/10
(($(queue_sum .kernel.redirected.size) > 0 && $(queue_sum .kernel.requests) > 0))
head -c 1040K /dev/urandom >data
counted() { ask wide '{"op":"status"}' | jq -c '[.queues[] | [.kernel.requests, .kernel.redirected.size]] | transpose | map(add)'; }
for kib in 256 260; do
    before=$(counted)
    dd if=data of="$dev" bs=${kib}K count=4 oflag=direct status=none
    dd if="$dev" bs=${kib}K count=4 iflag=direct status=none | cmp - <(head -c $((4 * kib))K data)
    difference=$(jq -nc "[$before, $(counted)] | transpose | map(.[1] - .[0])")
    echo "8 requests of $kib KiB: $difference in the kernel, passed on for their size"
    if ((kib == 256)); then [[ $difference == '[8,0]' ]]; else [[ $difference == '[0,8]' ]]; fi
done
[[ $(queue_sum '.kernel.redirected | .failure + .layer + .buffer') == 0 ]]
delete_device wide
# The other engine's pieces lie where these do.
configure native off
[[ $(start_server wide | jq .ready) == true ]]
dd if="$(block_device wide)" bs=1040K count=1 iflag=direct status=none | cmp - data
delete_device wide
