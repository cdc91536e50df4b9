#!/usr/bin/env bash
# A stack is changed under a client that notices nothing, and is not taken away from one that would.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

stack() { # MEMBERS
    cat <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: live }
spec:
  layers:
    a: { file: { path: a.img, size: 32MiB } }
    b: { file: { path: b.img, size: 32MiB } }
    safe: { mirror: { members: [$1] } }
  exports:
    data: { layer: safe, mode: "0640", group: disk }
YAML
}

stack a | sed '/ b: /d' >live.yaml
ublk_stack apply live.yaml
dev=$(device live data)
[[ $(stat -c %a:%G "$dev") == 640:disk ]]

# A second member comes while fio writes and reads back: the server is replaced under the device.
verify "$dev" --io_size=48m --verify_backlog=64 &
fio=$!
stack a,b >live.yaml
ublk_stack apply live.yaml | tee applied
grep -q 'stack/live configured' applied
[[ $(device live data) == "$dev" ]]
wait "$fio"
ublk_stack wait --for=synced live --timeout 120s

# What is in use stays, and the message names the user.
refused() {
    if ublk_stack delete live 2>delete.err; then
        echo "it was deleted while $1"
        return 1
    fi
    cat delete.err
    grep -q "$2" delete.err
    [[ -b $(device live data) ]]
}
(exec 9<"$dev" && exec sleep 300) &
opener=$!
refused "a program had it open" "sleep (process $opener)"
kill "$opener"
wait "$opener" || true
mkfs.ext4 -q -F "$dev"
mkdir -p mnt
mount "$dev" mnt
refused "it was mounted" "mounted at $PWD/mnt"
umount mnt

ublk_stack delete live
[[ ! -e /dev/ublk-stack/live ]]
cmp a.img b.img
e2fsck -fn a.img
