#!/usr/bin/env bash
# Media that fail: every error reaches the client whose bytes it concerns, as the errno that it is, and is in the log with
# layer, path and place, and counted. The bytes around it, and the server, go on.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
modprobe -a dm_mod loop
# shellcheck disable=SC2154 # $status is the exit status that the trap finds
trap 'status=$?; ((status == 0)) || tail -n 20 "$UBLK_STACK_RUN_DIR"/stacks/direct/*/log
    dmsetup remove --noudevsync bad 2>/dev/null || true; umount full 2>/dev/null || true
    [[ -z ${loop:-} ]] || losetup -d "$loop"' EXIT

size=$((8 << 20))
direct() { dd bs=4K iflag=direct status=none "$@"; } # a read
no_space() { ! dd bs=4K oflag=direct status=none "$@" 2>dd.err && grep -q 'No space left' dd.err; }
io_error() { ! dd bs=4K status=none "$@" 2>dd.err && grep -q 'Input/output error' dd.err; }

echo "== one bad block"
head -c $size /dev/urandom >disk.img
loop=$(losetup --find --show --direct-io=off disk.img)
# Sectors 2048 to 2055 cannot be read or written: 4 KiB at 1 MiB.
dmsetup create --noudevsync bad <<TABLE
0 2048 linear $loop 0
2048 8 error
2056 14328 linear $loop 2056
TABLE
dmsetup mknodes
server_config bad "[{ \"name\": \"disk\", \"type\": \"block\", \"size\": $size, \"path\": \"/dev/mapper/bad\",
    \"params\": { \"path\": \"/dev/mapper/bad\" } }]"
[[ $(start_server bad) == *'"ready":true'* ]]
block=$(block_device bad)
io_error if="$block" of=/dev/null count=1 skip=256 iflag=direct
io_error if=/dev/zero of="$block" count=1 seek=256 oflag=direct
cmp <(direct if="$block" count=256) <(head -c 1M disk.img)
cmp <(direct if="$block" skip=257) <(tail -c +$(((1 << 20) + 4097)) disk.img)
head -c 4K /dev/urandom >new
dd if=new of="$block" bs=4K seek=257 oflag=direct conv=fsync status=none
cmp <(direct if="$block" count=1 skip=257) new
status=$(ask bad '{"op":"status"}')
(($(jq '.layers[0].errors.EIO' <<<"$status") >= 2))
show_log bad | jq -e 'select(.layer == "disk" and .path == "/dev/mapper/bad" and .errno == "EIO" and .offset == 1048576)' >/dev/null
delete_device bad
dmsetup remove --noudevsync bad
losetup -d "$loop"
loop=

echo "== no space, with copying and without"
mkdir full
mount -t tmpfs -o size=1M tmpfs full
truncate -s $size full/memory.img
server_config memory "[{ \"name\": \"memory\", \"type\": \"memory\", \"size\": $size, \"path\": \"$PWD/full/memory.img\" }]"
[[ $(start_server memory) == *'"ready":true'* ]]
block=$(block_device memory)
no_space if=/dev/zero of="$block" count=512 seek=1024
[[ $(ask memory '{"op":"status"}' | jq '.layers[0].errors.ENOSPC') -ge 1 ]]
blkdiscard "$block"
dd if=/dev/zero of="$block" bs=4K count=16 seek=1024 oflag=direct status=none
delete_device memory
umount full
truncate -s 16M small.img
mkfs.ext4 -q -O ^has_journal small.img
mount -o loop small.img full
truncate -s 64M full/sparse.img
server_config sparse "[{ \"name\": \"sparse\", \"type\": \"file\", \"size\": $((64 << 20)), \"path\": \"$PWD/full/sparse.img\",
    \"params\": { \"path\": \"sparse.img\", \"direct\": \"auto\" } }]"
[[ $(start_server sparse) == *'"ready":true'* ]]
no_space if=/dev/urandom of="$(block_device sparse)" bs=64K count=512
delete_device sparse
umount full

for type in file memory; do
    echo "== truncated underneath: $type"
    path=$PWD/$type.img
    [[ $type == file ]] || path=/dev/shm/cut.img
    head -c $size /dev/urandom >"$path"
    cp "$path" before
    server_config cut "[{ \"name\": \"cut\", \"type\": \"$type\", \"size\": $size, \"path\": \"$path\",
        \"params\": { \"path\": \"cut.img\", \"direct\": \"auto\" } }]"
    [[ $(start_server cut) == *'"ready":true'* ]]
    truncate -s 4M "$path"
    block=$(block_device cut)
    cmp <(direct if="$block" count=1024) <(head -c 4M before)
    io_error if="$block" of=/dev/null count=1 skip=1024 iflag=direct
    # Read over the end through the page cache, which asks again for every page that it did not get.
    dd if="$block" of=over bs=64K count=1 iflag=skip_bytes skip=$(((4 << 20) - 32768)) status=none
    cmp over <(head -c 4M before | tail -c 32K)
    delete_device cut
done
