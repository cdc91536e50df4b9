#!/usr/bin/env bash
# An instrument on both engines: its faults strike what they should, each counted once, and the same requests whatever
# engine and however many queues serve them; what it does not look at stays in the kernel; its settings change under load.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
# shellcheck disable=SC2154 # $status is the exit status that the trap finds
trap 'status=$?; ((status == 0)) || tail -n 20 "$(run_dir sick)/log"' EXIT

size=$((64 << 20))
truncate -s $size disk.img
# A quarter of the reads of 256 blocks from 1 MiB on.
layers=$(jq -nc --arg path "$PWD/disk.img" --argjson size $size '
    [{ name: "sick", type: "error", size: $size, children: [1],
       params: { errno: "EIO", ops: "read", startBytes: 1048576, lengthBytes: 1048576, probability: 0.25, seed: 7 } },
     { name: "disk", type: "file", size: $size, path: $path, params: { path: $path, direct: "on" } }]')

status_of() { ask sick '{"op":"status"}' | jq "$1"; }
failed() { status_of '.instruments[] | select(.layer == "sick") | .counts.failed'; }
kernel_sum() { status_of "[.queues[].kernel.$1] | add"; }
set_faults() { [[ $(ask sick "{\"op\":\"set\",\"layer\":\"sick\",\"params\":$1}") == '{"ok":true}' ]]; }
fails_with() {
    local message=$1
    shift
    ! "$@" 2>failure && grep -q "$message" failure
}
one_block() { dd bs=4K count=1 status=none "$@"; }

# reads PARITY: reads every other of the first 1024 blocks, and prints those that fail, with the error.
reads() {
    python3 -S -c '
import errno, mmap, os, sys
fd, buffer = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 4096)
for block in range(int(sys.argv[2]), 1024, 2):
    try:
        os.preadv(fd, [buffer], block * 4096)
    except OSError as error:
        print(block, errno.errorcode[error.errno])' "$dev" "$1"
}
# Every block once, from both processors, each with a queue of its own where there are two.
failing_reads() {
    taskset -c 0 bash -c "$(declare -f reads); dev=$dev; reads 0" >even &
    taskset -c 1 bash -c "$(declare -f reads); dev=$dev; reads 1" >odd
    wait $!
    sort -n even odd
}

under_load() {
    local before
    keep_verifying "$dev" --bssplit=4k/60:64k/40 --size=32m --io_size=8m
    before=$(failed)
    echo "== other faults, under load"
    set_faults '{"errno":"ENOSPC","ops":"write","startBytes":50331648,"lengthBytes":1048576}'
    fails_with 'No space left' one_block if=/dev/zero of="$dev" seek=12300 oflag=direct
    one_block if="$dev" of=/dev/null skip=12300 iflag=direct
    set_faults '{"errno":"EIO","ops":"read","startBytes":50331648,"lengthBytes":1048576}'
    fails_with 'Input/output error' one_block if="$dev" of=/dev/null skip=12300 iflag=direct
    one_block if=/dev/zero of="$dev" seek=12300 oflag=direct
    set_faults '{"errno":"EIO","ops":"flush"}'
    fails_with 'Input/output error' sync --data "$dev"
    # What is refused changes nothing.
    [[ $(ask sick '{"op":"set","layer":"sick","params":{"errno":"EWHAT"}}') == *'EWHAT'* ]]
    fails_with 'Input/output error' sync --data "$dev"
    (($(failed) == before + 4))

    echo "== looked at and let alone in turn, under load"
    for _ in {1..30}; do
        set_faults '{"nth":1000000000}'
        set_faults '{"probability":0}'
    done
    set_faults '{"nth":1000000000}'
    before=$(status_of '[.queues[].requests] | add')
    goes_on() { (($(status_of '[.queues[].requests] | add') > before + 200)); }
    until_true 60 goes_on
    set_faults '{"probability":0}'
    sync --data "$dev"
    end_verifying
}

for engine in native uring-bpf; do
    for queues in 1 2; do
        echo "== $engine, $queues queues"
        server_config sick "$layers" "{ \"ublk\": { \"queues\": $queues, \"depth\": 32, \"engine\": \"$engine\", \"poll\": \"off\" } }"
        started=$(start_server sick)
        if [[ $(jq .ready <<<"$started") != true ]]; then
            [[ $engine == uring-bpf && $(jq -r .error.code <<<"$started") == engine-refused ]]
            continue
        fi
        dev=$(block_device sick)
        [[ $(status_of '.queues | length') == "$queues" ]]
        failing_reads >first
        failing_reads >second
        (($(failed) == $(cat first second | wc -l)))
        awk '$1 < 256 || $1 >= 512 || $2 != "EIO" { exit 1 }' first second
        # Chance goes by how often a place was asked for, too.
        (($(wc -l <first) > 32 && $(wc -l <first) < 96))
        [[ $(<first) != "$(<second)" ]]
        [[ -e first.wanted ]] || { cp first first.wanted; cp second second.wanted; }
        cmp first first.wanted
        cmp second second.wanted
        if [[ $engine == uring-bpf ]]; then
            (($(kernel_sum redirected.layer) == 512 && $(kernel_sum requests) >= 1536))
            dd if=/dev/zero of="$dev" bs=64K count=64 oflag=direct status=none
            (($(kernel_sum redirected.layer) == 512))
        fi
        if ((queues == 2)); then
            under_load
            if [[ $engine == uring-bpf ]]; then
                before=$(kernel_sum redirected.layer)
                (($(failing_reads | wc -l) == 0))
                (($(kernel_sum redirected.layer) == before))
            fi
        fi
        delete_device sick
    done
done
