# Words for cases that drive the server program itself, with a config.json of their own: sourced after cases.sh.
# shellcheck shell=bash

server=${UBLK_STACK_TEST_SERVER:-${project:?}/native/build/Release/ublk-stack-server}
addon=$project/native/build/Release/ublk_stack.node

coproc helper { cd / && exec node "$project/test/vm/server-helper.mjs" "$addon"; }

# Copies, since bash keeps a coprocess's own descriptors from subshells.
exec {to_helper}>&"${helper[1]}" {from_helper}<&"${helper[0]}"

# helped LINE: one question to the helper; its answer, or failure.
helped() {
    local answer
    echo "$1" >&"$to_helper"
    IFS= read -rt 60 answer <&"$from_helper"
    echo "$answer"
    [[ $answer != failed:* ]]
}

# Names of the driver's features.
features=$(helped features)
has_feature() { [[ " $features " == *" $1 "* ]]; }

run_dir() { echo "$UBLK_STACK_RUN_DIR/stacks/direct/$1"; }

# server_config DEVICE LAYERS [TABLE [RUNTIME]]: writes the config.json of a ublk device. LAYERS is a JSON list of
# {name, type, size, children?, params?, path?, geometry?}, the root first; TABLE and RUNTIME are merged over the rest.
server_config() {
    local run state=$UBLK_STACK_STATE_DIR/stacks/direct
    run=$(run_dir "$1")
    mkdir -p "$run" "$state"
    jq -n --arg device "$1" --argjson layers "$2" --argjson table "${3:-{\}}" --argjson runtime "${4:-{\}}" \
        --arg run "$run" --arg state "$state" --arg boot "$(</proc/sys/kernel/random/boot_id)" \
        --arg tag "5542$(printf '%s@%s' "$1" "$state" | sha256sum | cut -c1-12)" '
        { logicalBlockBytes: 512, physicalBlockBytes: 4096, ioMinBytes: 4096, ioOptBytes: 0,
          discardGranularityBytes: 4096, maxDiscardBytes: 1073741824, maxWriteZeroesBytes: 1073741824,
          volatileCache: true, fua: true, rotational: false } as $geometry
        | { table: ({ name: $device, frontend: "ublk", nbd: null, opens: [],
                access: { owner: null, group: null, mode: "0600" },
                ublk: { queues: 2, depth: 32, id: -1 },
                exports: [{ name: $device, root: 0, readOnly: false }],
                layers: [$layers[] | { name, type, sizeBytes: .size, readOnly: false, children: (.children // []),
                    geometry: ($geometry + (.geometry // {})), params: (.params // {}) }] } * $table),
            runtime: ({ stack: "direct", runDir: $run, stateDir: $state, logFile: ($run + "/log"),
                paths: ([$layers[] | select(.path) | { (.name): .path }] | add // {}),
                tag: $tag, bootId: $boot, blank: [$layers[].name] } + $runtime) }' >"$run/config.json"
}

# start_server DEVICE: starts a server and waits for its last word, which it prints. Its pid is in supervisor.pid.
start_server() {
    local run line
    run=$(run_dir "$1")
    rm -f "$run/ready"
    mkfifo "$run/ready"
    "$server" --config "$run/config.json" --ready-fd 3 3>"$run/ready" 2>>"$run/log" </dev/null >/dev/null \
        {to_helper}>&- {from_helper}<&- &
    while IFS= read -rt 60 line; do
        [[ $line != *'"ready"'* ]] || break
    done <"$run/ready"
    echo "$line"
}

# block_device DEVICE: what the server of DEVICE serves.
block_device() { echo "/dev/ublkb$(jq .id "$(run_dir "$1")/device.json")"; }

# ask DEVICE REQUEST: one question to the server's control socket.
ask() { helped "ask $(run_dir "$1")/control.sock $2"; }

supervisor_gone() { [[ ! -e "$(run_dir "$1")/supervisor.pid" ]]; }

# stop_server DEVICE: an orderly stop; the device stays, quiesced.
stop_server() {
    kill -TERM "$(<"$(run_dir "$1")/supervisor.pid")"
    until_true 30 supervisor_gone "$1"
}

# delete_device DEVICE: takes the device from its server, which then ends by itself, and removes it.
delete_device() {
    [[ $(helped "delete $(jq .id "$(run_dir "$1")/device.json")") == deleted ]]
    until_true 30 supervisor_gone "$1"
}

show_log() { cat "$(run_dir "$1")/log"; }

# engines_here: the engines that can serve on this kernel, the second one wherever the kernel is new enough.
engines_here() {
    local probe
    probe=$("$server" --probe-engine)
    echo native
    if [[ $(jq .works <<<"$probe") == true ]]; then
        echo uring-bpf
    elif [[ $(uname -r) =~ ^([7-9]|[1-9][0-9])\.[1-9] ]]; then
        echo "no uring-bpf here: $probe" >&2
        return 1
    fi
}
