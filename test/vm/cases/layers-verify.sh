#!/usr/bin/env bash
# Every layer type under fio's own verification, on real ublk, all exports of one stack.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

modprobe loop
truncate -s 64M backing.img
backing=$(losetup --find --show backing.img)
trap 'losetup -d "$backing"' EXIT

cat >types.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: types }
spec:
  layers:
    file: { file: { path: file.img, size: 64MiB } }
    buffered: { file: { path: buffered.img, size: 64MiB, direct: "off" } }
    memory: { memory: { size: 64MiB } }
    block: { block: { path: $backing } }
    linear: { linear: { members: [{ file: { path: l0.img, size: 24MiB } }, { file: { path: l1.img, size: 40MiB } }] } }
    stripe:
      stripe: { chunk: 16KiB, members: [{ file: { path: s0.img, size: 32MiB } }, { file: { path: s1.img, size: 32MiB } }] }
    mirror:
      mirror: { members: [{ file: { path: m0.img, size: 64MiB } }, { memory: { size: 64MiB } }] }
  exports:
    file: { layer: file }
    buffered: { layer: buffered }
    memory: { layer: memory }
    block: { layer: block }
    linear: { layer: linear }
    stripe: { layer: stripe, ublk: { queues: 2 } }
    mirror: { layer: mirror, ublk: { queues: 2 } }
YAML
ublk_stack apply types.yaml --timeout 120s
ublk_stack status types

for export in file buffered memory block linear stripe mirror; do
    echo "verify $export: $(device types $export)"
    verify "$(device types $export)"
    # Discard and write-zeroes: both read back as zeros, and the bytes around them stay.
    dev=$(device types $export)
    blkdiscard --offset 1M --length 1M "$dev"
    cmp --bytes=1M --ignore-initial=1M:0 "$dev" /dev/zero
    blkdiscard --zeroout --offset 3M --length 64K "$dev"
    cmp --bytes=64K --ignore-initial=3M:0 "$dev" /dev/zero
done

# The two members of the mirror hold the same bytes once it is stopped.
sync
ublk_stack delete types
