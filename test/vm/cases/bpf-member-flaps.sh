#!/usr/bin/env bash
# The loop in the kernel under everything that may happen to it at once: a member that fails and comes back every
# second, signals, and a server that is killed, under fio's verification. What the kernel cannot finish goes to user
# space and comes back; no error reaches the client, no byte is lost, and both members end equal.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
modprobe loop
modprobe dm_mod

truncate -s 32M good.img bad.img
good=$(losetup --direct-io=on --find --show good.img) raw=$(losetup --direct-io=on --find --show bad.img)
trap 'dmsetup remove --noudevsync flaps || true; losetup -d $good $raw' EXIT
dmsetup create --noudevsync flaps --table "0 65536 linear $raw 0"
dmsetup mknodes
becomes() { dmsetup suspend --noudevsync flaps && dmsetup load flaps --table "0 65536 $1" && dmsetup resume --noudevsync flaps; }

cat >safe.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: safe }
spec:
  layers:
    good: { block: { path: $good } }
    flaps: { block: { path: /dev/mapper/flaps } }
    both: { mirror: { members: [flaps, good] } }
  exports:
    data: { layer: both, ublk: { queues: 2, depth: 32 } }
YAML
ublk_stack apply safe.yaml
ublk_stack wait --for=synced safe --timeout 120s

folder=$(dirname "$UBLK_STACK_RUN_DIR"/stacks/safe/*/control.sock)
server() { helped "ask $folder/control.sock $1"; }
sum() { server '{"op":"status"}' | jq "[.queues[] | $1] | add"; }
dropped() { [[ $(server '{"op":"status"}') == *'"dropped"'* ]]; }
# answers OLD: another server than OLD is ready.
answers() { [[ $(server '{"op":"status"}' | jq -r '"\(.pid) \(.phase)"' 2>/dev/null) =~ ^[0-9]+\ ready$ && $(cat "$folder/server.pid") != "$1" ]]; }
redirected='.kernel.redirected | add'
status=$(server '{"op":"status"}')
engines=$(jq -r '[.queues[].engine] | unique | join(" ")' <<<"$status")
if [[ $engines != uring-bpf ]]; then
    echo "$status"
    # A kernel without the loop serves natively, and says why.
    [[ $engines == native && $(jq -r '.queues[0].reason' <<<"$status") == *io_uring_bpf_ops* ]]
    [[ ! $(uname -r) =~ ^([7-9]|[1-9][0-9])\.[1-9] ]]
    exit
fi

dev=$(device safe data)
keep_verifying "$dev" --rw=randrw --rwmixread=30 --io_size=32m --fsync=64 --verify_backlog=256
kills=0 passed=0
for flaps in {1..4}; do
    becomes error
    until_true 60 dropped
    becomes "linear $raw 0"
    now=$(sum "$redirected")
    ((now <= passed)) || passed=$now
    pid=$(cat "$folder/server.pid")
    # A stop and a continuation end the system call that the loop lives in, and nothing else.
    kill -STOP "$pid" && kill -CONT "$pid"
    if ((flaps % 2 == 0)); then
        kill -KILL "$pid" && kills=$((kills + 1))
        until_true 60 answers "$pid"
    fi
    server '{"op":"readd","layer":"both","member":"flaps"}'
    read -rt 0.5 <> <(:) || true
done
end_verifying
echo "$flaps times failed and back, $kills kills, up to $passed requests passed on by one server"
((kills == 2 && passed >= 4))
# A server that takes the place of a killed one has the kernel verify nothing.
[[ $(grep -c 'verified programs of the server before: 2 of 2' "$UBLK_STACK_STATE_DIR/logs/safe.log") == "$kills" ]]

ublk_stack apply --readd safe.yaml
ublk_stack wait --for=synced safe --timeout 120s
# Quiet again: all of it stays in the kernel, flushes and durable writes (FUA) too.
verify "$dev" --io_size=8m
handled=$(sum .kernel.requests) before=$(sum "$redirected")
flushes() { server '{"op":"status"}' | jq '.layers[0].flushes'; }
flushed=$(flushes)
verify "$dev" --io_size=8m --fsync=16
verify "$dev" --io_size=4m --sync=dsync
(($(flushes) > flushed + 4 && $(sum .kernel.requests) > handled && $(sum "$redirected") == before))
ublk_stack delete safe
cmp "$good" "$raw"
