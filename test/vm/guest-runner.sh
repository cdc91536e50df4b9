#!/usr/bin/env bash
# Runs cases inside the virtual machine, one after the other in one boot, since a boot costs more than most cases.
#
#   guest-runner.sh RESULTS CASE.sh…
#
# Each case runs in a scratch folder of its own on a real file system (ext4 on a virtio disk), with state and run
# folders of its own, and must leave nothing behind: no process, no ublk device, no mount. What it printed goes to
# RESULTS/NAME.log, its exit status to RESULTS/NAME.status.
set -uo pipefail
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
results=$1
shift

scratch=/tmp/scratch
mkdir -p "$scratch"
mkfs.ext4 -q -F /dev/vda && mount /dev/vda "$scratch" || exit 1

leftovers() {
    local found=0
    if pgrep -f '[u]blk-stack-server' >/dev/null; then
        echo "left behind: server processes: $(pgrep -af '[u]blk-stack-server')"
        found=1
    fi
    local device
    for device in /dev/ublkb* /dev/ublkc[0-9]*; do
        [[ -e $device ]] || continue
        echo "left behind: $device"
        found=1
    done
    return "$found"
}

# What one case leaves must not fail those after it.
clean_up() {
    pkill -KILL -f '[u]blk-stack-server|[d]ist/cli.js controller'
    local device
    for device in /dev/ublkc[0-9]*; do
        [[ -e $device ]] && echo "delete ${device#/dev/ublkc}"
    done | node "$project/test/vm/server-helper.mjs" "$project/native/build/Release/ublk_stack.node"
    # Deleting fails what still waits for a device, so that only now its users can go.
    pkill -KILL -x 'fio|dd'
}

for case in "$@"; do
    name=$(basename "$case" .sh)
    export WORK=$scratch/$name
    export UBLK_STACK_STATE_DIR=$WORK/state UBLK_STACK_RUN_DIR=/run/ublk-stack-test/$name
    mkdir -p "$WORK" "$UBLK_STACK_STATE_DIR" "$UBLK_STACK_RUN_DIR"
    begin=$EPOCHREALTIME
    status=0
    (cd "$WORK" && timeout --kill-after=10 "${CASE_TIMEOUT:-600}" bash "$case") >"$results/$name.log" 2>&1 || status=$?
    if ! leftovers >>"$results/$name.log" 2>&1; then
        ((status == 0)) && status=99
        clean_up >>"$results/$name.log" 2>&1
    fi
    # What servers and controller said, when it matters.
    ((status == 0)) || tail -n 60 "$UBLK_STACK_STATE_DIR"/logs/*.log >>"$results/$name.log" 2>/dev/null || true
    echo "$status" >"$results/$name.status"
    awk -v a="$begin" -v b="$EPOCHREALTIME" -v n="$name" -v s="$status" \
        'BEGIN { printf "case %s: status %d, %.1f s\n", n, s, b - a }'
    umount -q "$WORK"/mnt* 2>/dev/null || true
    rm -rf "$WORK"
done
# A process that has just been told to end, the controller for one, may hold a file for a moment more.
for _ in {1..300}; do
    umount "$scratch" 2>/dev/null && exit 0
    read -rt 0.1 <> <(:) || true
done
umount "$scratch"
