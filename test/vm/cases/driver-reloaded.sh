#!/usr/bin/env bash
# The driver's module can be taken out once no device is left, and put back: nothing of a server, of a loop in the kernel
# or of the controller holds on to it, and what is applied afterwards is served as before.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
trap 'modprobe ublk_drv' EXIT

stack() { # ENGINE
    cat <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: reloaded }
spec:
  engine: $1
  layers:
    a: { file: { path: a.img, size: 32MiB } }
    b: { file: { path: b.img, size: 32MiB } }
    wide: { stripe: { members: [a, b] } }
  exports:
    data: { layer: wide, ublk: { queues: 1 } }
YAML
}

engines=native
[[ $("$project/native/build/Release/ublk-stack-server" --probe-engine | jq .works) != true ]] || engines+=' uring-bpf'
head -c 1M /dev/urandom >data
for engine in $engines; do
    stack "$engine" >reloaded.yaml
    ublk_stack apply reloaded.yaml
    [[ $(ublk_stack status reloaded -o json | jq -r '.items[0].status.queues[0].engine') == "$engine" ]]
    dev=$(device reloaded data)
    [[ $engine == native ]] || dd if="$dev" bs=1M count=1 skip=16 iflag=direct status=none | cmp - data
    dd if=data of="$dev" bs=1M seek=16 oflag=direct conv=fsync status=none
    ublk_stack delete reloaded
    rmmod ublk_drv
    [[ ! -e /dev/ublk-control ]]
    modprobe ublk_drv
done
