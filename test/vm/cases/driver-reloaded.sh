#!/usr/bin/env bash
# The driver's module can be taken out once no device is left, and put back: nothing of a server, of a loop in the kernel
# or of the controller holds on to it, and what is served afterwards is served as before.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'modprobe ublk_drv' EXIT

reload() {
    rmmod ublk_drv
    [[ ! -e /dev/ublk-control ]]
    modprobe ublk_drv
}

size=$((32 << 20))
truncate -s $size a.img
head -c 1M /dev/urandom >data
engines=$(engines_here)
for engine in $engines; do
    server_config disk "[{ \"name\": \"disk\", \"type\": \"file\", \"size\": $size, \"path\": \"$PWD/a.img\", \"params\": { \"path\": \"a.img\" } }]" \
        "{ \"ublk\": { \"queues\": 2, \"depth\": 32, \"id\": -1, \"engine\": \"$engine\" } }"
    for round in 1 2; do
        [[ $(start_server disk | jq .ready) == true ]]
        [[ $(ask disk '{"op":"status"}' | jq -r '.queues[0].engine') == "$engine" ]]
        dev=$(block_device disk)
        ((round == 1)) || dd if="$dev" bs=1M count=1 skip=16 iflag=direct status=none | cmp - data
        dd if=data of="$dev" bs=1M seek=16 oflag=direct conv=fsync status=none
        delete_device disk
        reload
    done
done

cat >reloaded.yaml <<'YAML'
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: reloaded }
spec:
  layers:
    disk: { file: { path: a.img, size: 32MiB } }
  exports:
    data: { layer: disk, ublk: { queues: 1 } }
YAML
ublk_stack apply reloaded.yaml
dd if="$(device reloaded data)" bs=1M count=1 skip=16 iflag=direct status=none | cmp - data
ublk_stack delete reloaded
reload
