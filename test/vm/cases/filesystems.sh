#!/usr/bin/env bash
# ext4 and xfs live on a stack: make, mount, copy a tree, unmount, check, mount again, compare.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

cat >fs.yaml <<'YAML'
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: fs }
spec:
  layers:
    a: { stripe: { members: [{ file: { path: a0.img, size: 256MiB } }, { file: { path: a1.img, size: 256MiB } }] } }
    b: { file: { path: b.img, size: 512MiB } }
    safe: { mirror: { members: [a, b] } }
  exports:
    data: { layer: safe, ublk: { queues: 2 } }
YAML
ublk_stack apply fs.yaml --timeout 120s
dev=$(device fs data)
modprobe xfs
mkdir -p mnt
make_fs() { if [[ $1 == ext4 ]]; then mkfs.ext4 -q -F "$2"; else mkfs.xfs -q -f "$2"; fi; }
check_fs() { if [[ $1 == ext4 ]]; then e2fsck -fn "$2"; else xfs_repair -n "$2"; fi; }
for fs in ext4 xfs; do
    make_fs "$fs" "$dev"
    mount "$dev" mnt
    cp -a /usr/include/linux mnt/tree
    sync -f mnt
    fstrim mnt
    umount mnt
    check_fs "$fs" "$dev"
    mount "$dev" mnt
    diff -r /usr/include/linux mnt/tree
    umount mnt
done
ublk_stack delete fs
# xfs was last: the other member alone is the same file system.
xfs_repair -n -f b.img
