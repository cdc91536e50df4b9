#!/usr/bin/env bash
# A workload on a real ublk device is recorded: mounted ext4 survives every crash state, and without its journal it does not.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
modprobe -a ublk_drv fuse

# ext4 takes it for granted that its superblock is not torn, which a disk with sectors of 4096 bytes keeps.
# stack NAME MKFS_OPTION…: a stack over a file system that is there already; the recording works on a copy of it.
stack() {
    local name=$1
    shift
    truncate -s 16M "$name.img"
    mkfs.ext4 -q -F -b 4096 "$@" "$name.img"
    cat >"$name.yaml" <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: recorded }
spec:
  layers:
    disk: { file: { path: $name.img, blockSize: 4096 } }
  exports:
    data: { layer: disk, frontend: ublk }
YAML
}
cat >work.sh <<'WORK'
set -e
[ "$UBLK_STACK_FILE" = "$UBLK_STACK_DEVICE" ]
mkdir -p mnt
mount -t ext4 "$UBLK_STACK_DEVICE" mnt
mkdir mnt/tree
cp /usr/include/linux/fs.h /usr/include/linux/io_uring.h mnt/tree/
sync -f mnt
mv mnt/tree mnt/moved
rm mnt/moved/fs.h
sync -f mnt
umount mnt
WORK
# A power cut leaves the journal to be replayed, as the next mount would do: the check writes to its disk.
cat >check.sh <<'CHECK'
e2fsck -E journal_only -y "$UBLK_STACK_FILE" >/dev/null 2>&1
exec e2fsck -fn "$UBLK_STACK_FILE"
CHECK
# crash STACK [OPTION…]: what it found is in report.json.
crash() {
    local status=0
    ublk_stack crash "$@" --run 'sh work.sh' --check 'sh check.sh' --subsets 1 --tears 0 --timeout 60s -o json >report.json ||
        status=$?
    jq -c '{counts, reads, log, seconds, smallest: .smallest | {id, description, output}}' report.json
    return "$status"
}

stack journaled
crash journaled.yaml
jq -e '.log.cut == null and .log.flushes >= 4 and .counts.checked > 5 and .reads.used and .smallest == null' report.json >/dev/null

# Without a journal the same workload is not safe, and the explorer says in which state.
stack unjournaled -O '^has_journal'
status=0
crash unjournaled.yaml --fail-fast || status=$?
((status == 1))
jq -e '.smallest.failsAgain' report.json >/dev/null
