#!/usr/bin/env bash
# A qcow2 image as a block device: a file system lives on it and is trimmed, servers are killed while fio verifies it,
# above a mirror and in layers of devices; afterwards QEMU finds the image whole, and the same bytes in it.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"

stack() { # COMPOSE, and the layers under the image
    cat >stack.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: image }
spec:
  compose: $1
  layers:
    disk: { qcow2: { base: below, size: 256MiB, clusterSize: 16KiB } }
$2
  exports:
    data: { layer: disk, ublk: { queues: 2, depth: 32 } }
YAML
    ublk_stack apply stack.yaml --timeout 120s
    dev=$(device image data)
}

# Whatever a killed server was about to give up is tidied up by the first start after an orderly end.
end_in_order() {
    ublk_stack delete image --timeout 60s
    ublk_stack apply stack.yaml --timeout 120s
    ublk_stack delete image --timeout 60s
}

pick_victim() {
    local run
    run=$(find "$UBLK_STACK_RUN_DIR/stacks/image" -name control.sock -printf '%h\n' | shuf -n 1)
    victim=$(cat "$run/server.pid") || return
    [[ $victim != "${killed[$run]:-}" && $(helped "ask $run/control.sock {\"op\":\"status\"}") == *'"phase":"ready"'* ]] || return
    killed[$run]=$victim
}
declare -A killed
kill_under_load() {
    keep_verifying "$dev" --io_size=8m --verify_backlog=64
    for _ in {1..3}; do
        until_true 120 pick_victim
        kill -KILL "$victim"
    done
    end_verifying
}

echo "--- a file system, trimmed"
stack fused '    below: { file: { path: fs.qcow2 } }'
mkdir -p mnt
mkfs.ext4 -q -F "$dev"
mount "$dev" mnt
cp -a /usr/include/linux mnt/tree
dd if=/dev/urandom of=mnt/gone bs=1M count=64 status=none
sync -f mnt
taken=$(stat -c %b fs.qcow2)
rm mnt/gone
sync -f mnt
fstrim mnt
sync -f mnt
umount mnt
e2fsck -fn "$dev"
mount "$dev" mnt
diff -r /usr/include/linux mnt/tree
umount mnt
echo "blocks of the file before the trim and after: $taken $(stat -c %b fs.qcow2)"
(($(stat -c %b fs.qcow2) < taken - 100000))
ublk_stack delete image --timeout 60s
qemu-img check fs.qcow2
qemu-img convert -O raw fs.qcow2 fs.raw
e2fsck -fn fs.raw

echo "--- killed under load, above a mirror"
stack fused '    below: { mirror: { members: [a, b] } }
    a: { file: { path: a.img, size: 400MiB } }
    b: { file: { path: b.img, size: 400MiB } }'
kill_under_load
end_in_order
qemu-img check -f qcow2 a.img
cmp a.img b.img

echo "--- killed under load, above a device"
stack layered '    below: { stripe: { members: [c, d] } }
    c: { file: { path: c.img, size: 200MiB } }
    d: { file: { path: d.img, size: 200MiB } }'
kill_under_load
ublk_stack delete image --timeout 60s
