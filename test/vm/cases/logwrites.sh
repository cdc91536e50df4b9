#!/usr/bin/env bash
# logwrites beside device mapper's own log-writes: one workload goes through both, and the two logs say the same.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
modprobe loop
modprobe dm_log_writes

write_log() { node "${project:?}/test/vm/write-log.mjs" "$@"; }

cat >twice.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: twice }
spec:
  layers:
    disk: { file: { path: disk.img, size: 64MiB } }
    ours: { file: { path: ours.log, size: 512MiB } }
    record: { logwrites: { base: disk, log: ours } }
  exports:
    data: { layer: record, ublk: { queues: 1 } }
YAML
ublk_stack apply twice.yaml
under=$(device twice data)
# Requests are to be what bios are.
echo 2 >"/sys/block/$(basename "$under")/queue/nomerges"

truncate -s 512M theirs.log
theirs=$(losetup --find --show theirs.log)
trap 'dmsetup remove --noudevsync judged 2>/dev/null || true; losetup -d "$theirs"' EXIT
dmsetup create --noudevsync judged --table "0 131072 log-writes $under $theirs"
dmsetup mknodes
disk=/dev/mapper/judged

mark() {
    dmsetup message judged 0 mark "$1"
    ublk_stack set twice record mark="$1"
}

# One request after the other: the logs agree entry by entry.
head -c 4M /dev/urandom >random
put() { dd if=random of="$disk" conv=notrunc status=none "$@"; }
mark begin
put bs=4k count=8 oflag=direct
put bs=512 count=3 seek=999 oflag=direct
sync "$disk"
put bs=64k count=4 seek=20 oflag=direct,dsync
put bs=128k count=5 seek=40 skip=3 oflag=direct
blkdiscard --offset 3M --length 1M "$disk"
put bs=4k count=1 seek=800 oflag=direct conv=notrunc,fdatasync
mark raw

# A file system, with what it does side by side.
mkfs.ext4 -q -F "$disk"
mkdir mnt
mount "$disk" mnt
cp random mnt/one
sync
cp random mnt/two
rm mnt/one
umount mnt
sync "$disk"
mark unmounted

dmsetup remove --noudevsync judged
ublk_stack status twice
ublk_stack delete twice

until_mark() { sed "/^mark $1\$/q"; }
write_log show ours.log >ours.txt
write_log show theirs.log >theirs.txt
wc -l ours.txt theirs.txt
until_mark raw <ours.txt >ours.raw
until_mark raw <theirs.txt >theirs.raw
diff theirs.raw ours.raw
[[ $(wc -l <ours.raw) -gt 20 ]]

# What stands side by side may end in another order, and what is too long for one request is cut on the way to ours:
# the same bytes to the same places, and the same disk at each mark.
cut_log() { write_log show "$1" 524288 | grep -v ^flush | sort; }
diff <(cut_log theirs.log) <(cut_log ours.log)
[[ $(grep -c ^flush theirs.txt) -eq $(grep -c ^flush ours.txt) ]]
for at in raw unmounted; do
    truncate -s 64M "a.$at" "b.$at"
    write_log replay ours.log "a.$at" "$at"
    write_log replay theirs.log "b.$at" "$at"
    cmp "a.$at" "b.$at"
done
cmp a.unmounted disk.img
e2fsck -fn a.unmounted
