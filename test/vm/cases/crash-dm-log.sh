#!/usr/bin/env bash
# ext4 survives every crash state of a log that device mapper wrote; a file system whose writes bypass its journal does not.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
modprobe -a loop dm-log-writes

size=$((16 << 20))
# /tmp is memory: the log's device and the disk's need no more than what is written.
truncate -s $size /tmp/disk.img
truncate -s 256M /tmp/log.img
# ext4 takes it for granted that its superblock is not torn, which a disk with sectors of 4096 bytes keeps.
disk=$(losetup --find --show --sector-size 4096 /tmp/disk.img)
log=$(losetup --find --show --sector-size 4096 /tmp/log.img)
cleanup() {
    umount mnt 2>/dev/null || true
    dmsetup remove --noudevsync logged 2>/dev/null || true
    losetup -d "$disk" "$log" 2>/dev/null || true
}
trap cleanup EXIT
mkdir -p mnt

# record MKFS_OPTION…: makes a file system, copies, syncs and overwrites on it; $log has what was written.
record() {
    dmsetup create --noudevsync logged --table "0 $((size / 512)) log-writes $disk $log"
    dmsetup mknodes --noudevsync logged 2>/dev/null || dmsetup mknodes logged
    mkfs.ext4 -q -F -b 4096 -E nodiscard "$@" /dev/mapper/logged
    dmsetup message logged 0 mark mkfs
    mount -t ext4 /dev/mapper/logged mnt
    mkdir mnt/tree
    cp /usr/include/linux/{fs,io_uring,ublk_cmd,dm-ioctl}.h mnt/tree/
    sync -f mnt
    mv mnt/tree mnt/moved
    rm mnt/moved/fs.h
    sync -f mnt
    umount mnt
    dmsetup remove --noudevsync logged
}

# A power cut leaves the journal to be replayed, as the next mount would do: the check writes to its disk.
cat >check.sh <<'CHECK'
e2fsck -E journal_only -y "$UBLK_STACK_FILE" >/dev/null 2>&1
exec e2fsck -fn "$UBLK_STACK_FILE"
CHECK
crash() {
    local status=0
    ublk_stack crash --log "$log" --size $size --from mkfs --subsets 4 --tears 1 --check 'sh check.sh' \
        --timeout 60s -o json "$@" >report.json || status=$?
    jq -c '{counts, log, smallest: .smallest | {id, description, output}}' report.json
    return "$status"
}

record
crash
jq -e '.log.cut == null and .log.flushes >= 4 and .counts.checked > 20 and .smallest == null' report.json >/dev/null

# Without a journal the same workload is not safe, and the explorer says in which state.
record -O '^has_journal'
status=0
crash --fail-fast --resume found || status=$?
((status == 1))
state=$(jq -r .smallest.id report.json)
status=0
ublk_stack crash --resume found --state "$state" --timeout 60s >again || status=$?
((status == 1))
cat again
