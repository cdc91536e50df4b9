#!/usr/bin/env bash
# ublk over ublk three deep: every layer its own device and server.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

cat >deep.yaml <<'YAML'
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: deep }
spec:
  compose: layered
  layers:
    d0: { file: { path: d0.img, size: 32MiB } }
    d1: { file: { path: d1.img, size: 32MiB } }
    d2: { file: { path: d2.img, size: 64MiB } }
    wide: { stripe: { members: [d0, d1], chunk: 64KiB } }
    safe: { mirror: { members: [wide, d2] } }
    long: { linear: { members: [safe] } }
  exports:
    data: { layer: long }
YAML
ublk_stack apply deep.yaml --timeout 120s
[[ $(find /dev -maxdepth 1 -name 'ublkb*' | wc -l) == 6 ]]

verify "$(device deep data)"

# A device that another one opened cannot be opened exclusively by a third, so nobody mounts a member by accident.
lower=$(ublk_stack status deep -o json | jq -r '[.items[0].status.devices[] | select(.name == "wide")][0].device')
if mkfs.ext4 -q "$lower"; then
    echo "a member could be formatted while the layer above had it open"
    exit 1
fi

mkfs.ext4 -q "$(device deep data)"
e2fsck -fn "$(device deep data)"
ublk_stack apply deep.yaml | grep -q unchanged
ublk_stack delete deep
[[ -s d0.img && -s d1.img && -s d2.img ]] # the data files stay
