# shellcheck shell=bash
# measure.sh FOLDER IOS ROUNDS, in the guest: runs every contender of FOLDER/contenders, in turn, ROUNDS times, each with the
# jobs of FOLDER/jobs (NAME FIO-OPTION…). Leaves for each
#
#   FOLDER/CONTENDER.JOB.ROUND.json      fio's report
#   FOLDER/CONTENDER.JOB.ROUND.servers   "enters requests ticks", of all its servers during the job
#
# A contender is `kernel NAME`, brought up by up_NAME below, or `ours NAME`: the servers of FOLDER/NAME/*.json, the last one
# on top; their run folders are /run/bench/NAME/*, their devices /dev/ublkb0 and so on.
set -euo pipefail
folder=$1 ios=$2 rounds=$3
here=$(dirname "${BASH_SOURCE[0]}")
server=$here/../../native/build/Release/ublk-stack-server

pause() { read -rt 0.02 <> <(:) || true; }

up_null-blk() { dev=/dev/nullb0; }
up_brd() { dev=/dev/ram0; }
up_loop() { dev=$(losetup --direct-io=on --find --show /dev/nullb0); }
down_loop() { losetup -d "$dev"; }
up_dm-stripe() {
    local member members=''
    for member in /dev/nullb{0..3}; do members+=" $member 0"; done
    dmsetup create --noudevsync s --table "0 8388608 striped 4 128$members"
    dmsetup mknodes
    dev=$(readlink -f /dev/mapper/s)
}
down_dm-stripe() { dmsetup remove --noudevsync s; }
up_md-raid1() {
    mdadm --quiet --build /dev/md0 --level=1 --raid-devices=2 --assume-clean /dev/nullb0 /dev/nullb1
    dev=/dev/md0
}
down_md-raid1() { mdadm --quiet --stop /dev/md0; }

run_dirs() { echo /run/bench/"$name"/*/; }

up_ours() {
    local config run index=0
    for config in "$folder/$name"/*.json; do
        run=/run/bench/$name/$(basename "$config" .json)
        mkdir -p "$run"
        cp "$config" "$run/config.json"
        rm -f "$run/ready"
        "$server" --config "$run/config.json" --ready-fd 3 3>"$run/ready" 2>>"$run/log" &
        until grep -q '"ready":' "$run/ready" 2>/dev/null; do pause; done
        grep -q '"ready": *true' "$run/ready" || { cat "$run/ready" >&2; return 1; }
        dev=/dev/ublkb$index
        index=$((index + 1))
    done
}
# From the top down: a device in use cannot go.
down_ours() {
    local run
    local -a ids=()
    for run in $(run_dirs | tr ' ' '\n' | sort -r); do
        kill -TERM "$(cat "$run/supervisor.pid")"
        until [[ ! -e $run/supervisor.pid ]]; do pause; done
        ids+=("$(sed -n 's/.*"id": *\([0-9]*\).*/\1/p' "$run/device.json")")
    done
    node -e 'const [addon, ...ids] = process.argv.slice(1), native = require(addon);
        (async () => { for (const id of ids) { await native.stopDev(+id, 30000); await native.delDev(+id, 30000); } })()' \
        "$(realpath "$here/../../native/build/Release/ublk_stack.node")" "${ids[@]}"
}

# A first synchronisation would be measured along.
await_sync() {
    [[ $name == mirror-* ]] || return 0
    until grep -q 'in sync' /run/bench/"$name"/*/log; do pause; done
}

# So that every cluster has its place.
fill_image() {
    [[ $name == qcow2-* ]] || return 0
    dd if=/dev/zero of="$dev" bs=1M count=512 oflag=direct status=none
}

# Sums over the servers of the contender: io_uring_enter calls, requests, ticks of processor time.
totals() {
    [[ $kind == ours ]] || { echo 0 0 0; return; }
    # shellcheck disable=SC2046 # one folder a word
    python3 -S -c '
import json, socket, sys
sums = [0, 0, 0]
for run in sys.argv[1:]:
    s = socket.socket(socket.AF_UNIX)
    s.connect(run + "control.sock")
    s.sendall(b"{\"op\":\"status\"}\n")
    status = json.loads(s.makefile().readline())
    for q in status["queues"]:
        sums[0] += q["enters"]
        sums[1] += q["requests"]
    sums[2] += sum(int(v) for v in open("/proc/%d/stat" % status["pid"]).read().rsplit(")", 1)[1].split()[11:13])
print(*sums)' $(run_dirs)
}

run_job() {
    local job=$1 stem=$folder/$name.$1.$round before
    shift
    read -ra before < <(totals)
    fio --name=j --filename="$dev" --direct=1 --ioengine=io_uring --size=512m --number_ios="$ios" --norandommap \
        --randrepeat=1 "$@" --output-format=json >"$stem.json"
    read -ra after < <(totals)
    echo $((after[0] - before[0])) $((after[1] - before[1])) $((after[2] - before[2])) >"$stem.servers"
}

run_jobs() {
    local job options
    # Of a ublk device; the others have none.
    { echo none >"/sys/block/${dev#/dev/}/queue/scheduler"; } 2>/dev/null || true
    while read -r job options; do
        # shellcheck disable=SC2086 # options are words
        run_job "$job" $options </dev/null
    done <"$folder/jobs"
}

modprobe null_blk nr_devices=4 gb=2 queue_mode=2 irqmode=0 submit_queues=1 hw_queue_depth=128 memory_backed=0
modprobe brd rd_nr=1 rd_size=$((2 << 20))
modprobe loop
modprobe dm_mod
modprobe raid1
for scheduler in /sys/block/nullb*/queue/scheduler; do echo none >"$scheduler"; done

for ((round = 0; round < rounds; round++)); do
    while read -r kind name; do
        if [[ $kind == ours ]]; then up_ours && await_sync && fill_image; else "up_$name"; fi
        run_jobs
        if [[ $kind == ours ]]; then
            down_ours
        elif declare -F "down_$name" >/dev/null; then
            "down_$name"
        fi
    done <"$folder/contenders"
done
