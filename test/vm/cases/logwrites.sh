#!/usr/bin/env bash
# logwrites beside device mapper's own log-writes: one workload goes through both, and the two logs say the same.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
modprobe -a loop dm-log-writes

size=$((32 << 20)) log_size=$((128 << 20))
truncate -s $size disk.img
truncate -s $log_size ours.log theirs.log
layers=$(jq -nc --arg folder "$PWD" --argjson size $size --argjson log $log_size '
    [{ name: "record", type: "logwrites", size: $size, children: [1, 2], params: {} },
     { name: "disk", type: "file", size: $size, path: ($folder + "/disk.img") },
     { name: "log", type: "file", size: $log, path: ($folder + "/ours.log") }]')
server_config top "$layers" '{ "ublk": { "queues": 1, "depth": 32, "id": -1, "engine": "native" } }'
[[ $(start_server top | jq .ready) == true ]]
under=$(block_device top)
# Requests are to be what bios are.
echo 2 >"/sys/block/$(basename "$under")/queue/nomerges"

theirs=$(losetup --find --show theirs.log)
trap 'umount mnt 2>/dev/null || true; dmsetup remove --noudevsync judged 2>/dev/null || true; losetup -d "$theirs"' EXIT
dmsetup create --noudevsync judged --table "0 $((size / 512)) log-writes $under $theirs"
dmsetup mknodes
disk=/dev/mapper/judged

mark() {
    dmsetup message judged 0 mark "$1"
    [[ $(ask top "{\"op\":\"set\",\"layer\":\"record\",\"params\":{\"mark\":\"$1\"}}") == '{"ok":true}' ]]
}

# One request after the other: the logs agree entry by entry.
head -c 1M /dev/urandom >random
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
sync -f mnt
cp random mnt/two
rm mnt/one
umount mnt
sync "$disk"
mark unmounted

dmsetup remove --noudevsync judged
ask top '{"op":"status"}' | jq -c '.instruments[0].counts'
delete_device top

# What stands side by side may end in another order, and what is long is cut into several requests on the way to ours: block
# by block they have written the same to the same places, and the disk is the same at each mark.
for at in raw unmounted; do truncate -s $size "ours.$at" "theirs.$at"; done
node "$project/test/vm/write-log.mjs" batch <<'BATCH'
show ours.log ours.txt
show theirs.log theirs.txt
show ours.log ours.blocks 4096
show theirs.log theirs.blocks 4096
replay ours.log ours.raw raw
replay theirs.log theirs.raw raw
replay ours.log ours.unmounted unmounted
replay theirs.log theirs.unmounted unmounted
BATCH
wc -l ours.txt theirs.txt
until_mark() { sed "/^mark $1\$/q"; }
diff <(until_mark raw <theirs.txt) <(until_mark raw <ours.txt)
(($(until_mark raw <ours.txt | wc -l) > 20))
diff <(grep -v ^flush theirs.blocks | sort) <(grep -v ^flush ours.blocks | sort)
# Flushes that wait at the same time reach a disk as one.
flushes=$(grep -c ^flush ours.txt)
((flushes > 5 && flushes <= $(grep -c ^flush theirs.txt)))
for at in raw unmounted; do cmp "ours.$at" "theirs.$at"; done
cmp ours.unmounted disk.img
e2fsck -fn ours.unmounted
