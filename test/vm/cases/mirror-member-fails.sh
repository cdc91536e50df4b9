#!/usr/bin/env bash
# A member that fails is dropped and stays dropped over a restart; its stale bytes are never read; taken back, it is
# resynchronised in full.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
modprobe loop
modprobe dm_mod
modprobe dm_flakey

truncate -s 64M good.img bad.img
good=$(losetup --find --show good.img) raw=$(losetup --find --show bad.img)
trap 'dmsetup remove --noudevsync bad || true; losetup -d $good $raw' EXIT
dmsetup create --noudevsync bad --table "0 131072 linear $raw 0"
dmsetup mknodes

cat >safe.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: safe }
spec:
  layers:
    good: { block: { path: $good } }
    bad: { block: { path: /dev/mapper/bad } }
    both: { mirror: { members: [bad, good] } }
  exports:
    data: { layer: both }
YAML
ublk_stack apply safe.yaml
ublk_stack wait --for=synced safe --timeout 120s
dev=$(device safe data)
dd if=/dev/urandom of=old bs=1M count=64 status=none
dd if=old of="$dev" bs=1M oflag=direct status=none

# From now on every IO on the first member fails.
dmsetup suspend --noudevsync bad && dmsetup load bad --table "0 131072 error" && dmsetup resume --noudevsync bad
verify "$dev"
member_state() { ublk_stack status safe -o json | jq -r '.. | objects | select(.name? == "bad" and .state?) | .state' | head -1; }
[[ $(member_state) == dropped ]]
dd if="$dev" of=want bs=1M iflag=direct status=none

# The disk comes back with its old bytes; the server is replaced. The member must stay out.
dmsetup suspend --noudevsync bad && dmsetup load bad --table "0 131072 linear $raw 0" && dmsetup resume --noudevsync bad
ublk_stack delete safe
ublk_stack apply safe.yaml
[[ $(member_state) == dropped ]]
dd if="$(device safe data)" of=got bs=1M iflag=direct status=none
cmp want got

ublk_stack apply --readd safe.yaml
ublk_stack wait --for=synced safe --timeout 120s
[[ $(member_state) == in-sync ]]
ublk_stack delete safe
cmp "$good" "$raw"
cmp want "$raw"
