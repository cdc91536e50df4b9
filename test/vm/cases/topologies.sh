#!/usr/bin/env bash
# The topologies of stacks/ that go wrong on purpose, as they are in the file, on real ublk: ext4 on a failing disk, a mirror
# whose member dies in the middle of its rebuild, a slow disk among fast ones, a disk that lies about flush.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"

for stack in failing-disk dying-rebuild slow-disk lying-disk; do cp "$project/stacks/$stack.yaml" .; done
head -c 64M /dev/zero | tr '\0' a >dying-rebuild-0.img
ublk_stack apply ./*.yaml --timeout 120s

asked() { helped "ask $(echo "$UBLK_STACK_RUN_DIR/stacks/$1"/*/control.sock) $2"; }
count() { asked "$1" '{"op":"status"}' | jq ".instruments[] | select(.layer == \"$2\") | .counts.$3"; }
member() { asked dying-rebuild '{"op":"status"}' | jq -r '.mirrors[0].members[1].state'; }
member_is() { [[ $(member) == "$1" ]]; }
fails() { if "$@" 2>said; then return 1; else grep -q 'Input/output error' said; fi; }

echo "== a failing disk under ext4"
dev=$(device failing-disk data)
fails dd if="$dev" of=/dev/null bs=4k skip=10240 count=1 iflag=direct status=none
fails dd if=/dev/zero of="$dev" bs=4k seek=12288 count=1 oflag=direct status=none
mkfs.ext4 -q -F -b 4096 -E nodiscard "$dev"
mkdir mnt
mount "$dev" mnt
head -c 1M /dev/urandom >one
bad=0
for i in {1..52}; do
    # The kernel says so to whoever asks for durability.
    dd if=one of="mnt/$i" bs=1M conv=fsync status=none 2>said || { bad=$((bad + 1)); rm "mnt/$i"; }
done
(($(count failing-disk worn clearedBlocks) > 0 && $(count failing-disk sick failed) > 1))
((bad >= 3 && bad <= 10))
echo 3 >/proc/sys/vm/drop_caches
for file in mnt/[0-9]*; do cmp one "$file"; done
umount mnt
e2fsck -fn "$dev"

echo "== a mirror whose member dies in the middle of its rebuild"
dev=$(device dying-rebuild data)
until_true 60 member_is dropped
cmp --bytes=16M dying-rebuild-0.img dying-rebuild-1.img
# Four MiB are copied at a time, and any of them may be written first.
offset=$(asked dying-rebuild '{"op":"status"}' | jq -r '.mirrors[0].members[1].reason | capture("at offset (?<at>[0-9]+)$").at')
((offset >= 32 << 20 && offset < 36 << 20))
cmp --bytes=1M --ignore-initial="$offset:0" dying-rebuild-1.img /dev/zero
cmp --bytes=28M --ignore-initial=36M:0 dying-rebuild-1.img /dev/zero
cmp "$dev" dying-rebuild-0.img
dd if=one of="$dev" bs=1M seek=40 oflag=direct status=none
ublk_stack apply --readd dying-rebuild.yaml
until_true 60 member_is in-sync
cmp --bytes=1M --ignore-initial=40M:0 "$dev" one

echo "== a slow disk among fast ones"
dev=$(device slow-disk data)
before=$(count slow-disk slow delayed)
dd if=one of="$dev" bs=64k count=1 oflag=direct status=none
dd if=one of="$dev" bs=64k count=1 seek=2 oflag=direct status=none
(($(count slow-disk slow delayed) == before))
dd if=one of="$dev" bs=64k count=1 seek=1 oflag=direct status=none
dd if="$dev" of=/dev/null bs=64k count=1 skip=1 iflag=direct status=none
(($(count slow-disk slow delayed) == before + 2))
verify "$dev" --io_size=2m

echo "== a disk that lies about flush"
dev=$(device lying-disk data)
dd if=one of="$dev" bs=64k count=4 oflag=direct conv=fsync status=none
(($(count lying-disk liar loseFlushes) > 0))
(($(count lying-disk record flushes) == 0 && $(count lying-disk record unflushed) >= 4))
[[ $(asked lying-disk '{"op":"set","layer":"liar","params":{}}') == '{"ok":true}' ]]
sync --data "$dev"
(($(count lying-disk record flushes) > 0 && $(count lying-disk record unflushed) == 0))

ublk_stack delete --all
cmp dying-rebuild-0.img dying-rebuild-1.img
