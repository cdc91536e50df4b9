#!/usr/bin/env bash
# A member that answers nothing for a while, on either engine: what is asked of the server and of the controller is
# answered all the same; a server that is stopped or killed meanwhile gives way to one that waits for the old requests;
# and once the member answers again everything goes on, no byte lost.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
modprobe -a dm_mod loop

size=$((32 << 20)) sectors=$((32 << 11))
truncate -s $size good.img slow.img
good=$(losetup --direct-io=on --find --show good.img) raw=$(losetup --direct-io=on --find --show slow.img)
# shellcheck disable=SC2154 # $status is the exit status that the trap finds
trap 'status=$?; dmsetup resume --noudevsync slow || true
    ((status == 0)) || tail -n 20 "$UBLK_STACK_RUN_DIR"/stacks/*/*/log
    rm -f verifying; dmsetup remove --noudevsync slow || true; losetup -d $good $raw' EXIT
dmsetup create --noudevsync slow --table "0 $sectors linear $raw 0"
dmsetup mknodes

disk() { echo "{ \"name\": \"$1\", \"type\": \"block\", \"size\": $size, \"path\": \"$2\", \"params\": { \"path\": \"$2\" } }"; }
status() { ask both '{"op":"status"}'; }
pid_of() { cat "$(run_dir both)/$1.pid"; }
is_ready() { [[ $(status) == *'"phase":"ready"'* ]]; }
in_flight() { status | jq '[.queues[].inFlight] | add'; }
requests() { status | jq '[.queues[].requests] | add'; }
# All that fio has under way waits for the member, and nothing ends any more.
stands_still() {
    local before
    before=$(requests)
    read -rt 0.2 <> <(:) || true
    (($(in_flight) > 0 && $(requests) == before))
}
hangs() {
    is_busy() { (($(in_flight) > 0)); }
    until_true 60 is_busy
    dmsetup suspend --noudevsync slow
    until_true 60 stands_still
}
answers() { dmsetup resume --noudevsync slow; }
says() { show_log both | tail -n "+$((seen + 1))" | grep -q "$1"; }
look_from_here() { seen=$(show_log both | wc -l); }

engines=$(engines_here)
for engine in $engines; do
    server_config both "[{ \"name\": \"both\", \"type\": \"mirror\", \"size\": $size, \"children\": [1, 2] },
        $(disk slow /dev/mapper/slow), $(disk good "$good")]" \
        "{ \"ublk\": { \"queues\": 2, \"depth\": 32, \"id\": -1, \"engine\": \"$engine\" } }"
    [[ $(start_server both | jq .ready) == true ]]
    dev=$(block_device both)
    keep_verifying "$dev" --io_size=8m --verify_backlog=64
    # No flushes: a thread of the kernel's carries them out, and the end of a killed server would wait for it.

    echo "== $engine: nothing but a pause"
    hangs
    [[ $(status | jq -r '.queues[0].engine + " " + .phase') == "$engine ready" ]]
    answers
    before=$(requests)
    goes_on() { (($(requests) > before + 100)); }
    until_true 60 goes_on

    echo "== $engine: killed meanwhile"
    hangs
    look_from_here
    worker=$(pid_of server)
    kill -KILL "$worker"
    until_true 60 says 'waiting for '
    answers
    replaced() { [[ $(pid_of server) != "$worker" ]] && is_ready; }
    until_true 60 replaced

    echo "== $engine: stopped meanwhile"
    hangs
    look_from_here
    [[ $(ask both '{"op":"stop"}') == *true* ]]
    until_true 60 says '"stopping"'
    [[ $(status | jq -r .phase) == stopping ]]
    (($(in_flight) > 0))
    answers
    until_true 60 supervisor_gone both
    says '"stopped"'
    [[ $(start_server both | jq .ready) == true ]]

    [[ $(block_device both) == "$dev" ]]
    until_true 60 is_busy
    end_verifying
    [[ $(status | jq -c '[.mirrors[0].members[].state]') == '["in-sync","in-sync"]' ]]
    [[ $(status | jq '[.layers[].errors | length] | add') == 0 ]]

    echo "== $engine: deleted meanwhile"
    dmsetup suspend --noudevsync slow
    dd if=/dev/urandom of="$dev" bs=64K count=1 oflag=direct status=none &
    writer=$!
    until_true 60 is_busy
    echo "delete $(jq .id "$(run_dir both)/device.json")" >&"$to_helper"
    # The request that is under way is waited for, and ends well.
    kill -0 "$writer"
    answers
    wait "$writer"
    IFS= read -rt 60 answer <&"$from_helper"
    [[ $answer == deleted ]]
    until_true 30 supervisor_gone both
    cmp good.img slow.img
    rm -r "$UBLK_STACK_STATE_DIR/stacks/direct"
done

echo "== $engine: the commands"
cat >pair.yaml <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: pair }
spec:
  engine: $engine
  layers:
    slow: { block: { path: /dev/mapper/slow } }
    good: { block: { path: $good } }
    both: { mirror: { members: [slow, good] } }
  exports:
    data: { layer: both, ublk: { queues: 1 } }
YAML
ublk_stack apply pair.yaml
dev=$(device pair data)
pair() { helped "ask $(echo "$UBLK_STACK_RUN_DIR"/stacks/pair/*/control.sock) {\"op\":\"status\"}"; }
synced() { [[ $(pair | jq -c '[.mirrors[0].members[].state]') == '["in-sync","in-sync"]' ]]; }
until_true 60 synced
dmsetup suspend --noudevsync slow
dd if=/dev/urandom of="$dev" bs=64K count=1 oflag=direct status=none &
writer=$!
waits() { (($(pair | jq '[.queues[].inFlight] | add') > 0)); }
until_true 60 waits
ublk_stack explain pair | grep "engine $engine"
status=0
ublk_stack delete --force --timeout 3s pair 2>error || status=$?
cat error
((status == 1))
ublk_stack status pair
answers
wait "$writer"
deleted() { [[ -z $(ls /dev/ublkc* 2>/dev/null) && ! -e $UBLK_STACK_RUN_DIR/stacks/pair ]]; }
until_true 60 deleted # the controller went on by itself
cmp good.img slow.img
