#!/usr/bin/env bash
# Standard bytes: written fused, the same data are read layered, over NBD, and by device mapper's own targets.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
modprobe loop
modprobe dm_mod

stack() { # COMPOSE FRONTEND
    cat <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: swap }
spec:
  compose: $1
  layers:
    d0: { file: { path: d0.img, size: 24MiB } }
    d1: { file: { path: d1.img, size: 24MiB } }
    d2: { file: { path: d2.img, size: 16MiB } }
    wide: { stripe: { members: [d0, d1], chunk: 32KiB } }
    long: { linear: { members: [wide, d2] } }
  exports:
    data: { layer: long, frontend: $2 }
YAML
}

stack fused ublk >swap.yaml
ublk_stack apply swap.yaml
head -c 64M /dev/urandom >want
dd if=want of="$(device swap data)" bs=1M oflag=direct status=none
ublk_stack delete swap

stack layered ublk >swap.yaml
ublk_stack apply swap.yaml
cmp want "$(device swap data)"
ublk_stack delete swap

stack fused nbd >swap.yaml
ublk_stack apply swap.yaml
uri=$(ublk_stack status swap -o json | jq -r '.items[0].status.exports.data.uri')
nbdcopy "$uri" got
cmp want got
ublk_stack delete swap

l0=$(losetup --find --show d0.img) l1=$(losetup --find --show d1.img) l2=$(losetup --find --show d2.img)
trap 'dmsetup remove --noudevsync long wide || true; losetup -d $l0 $l1 $l2' EXIT
dmsetup create --noudevsync wide --table "0 98304 striped 2 64 $l0 0 $l1 0"
dmsetup mknodes
dmsetup create --noudevsync long --table "0 98304 linear /dev/mapper/wide 0
98304 32768 linear $l2 0"
dmsetup mknodes
cmp want /dev/mapper/long
