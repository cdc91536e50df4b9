#!/usr/bin/env bash
# What the loop in the kernel needs may be refused: then the native engine serves, and says why. Too little even for that is
# a start that fails in one sentence and leaves nothing behind. Memory that may not be locked is no reason to fail.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 20 "$(run_dir short)/log"' EXIT

server_config short '[{ "name": "short", "type": "null", "size": 1073741824 }]' '{ "ublk": { "queues": 1 } }'
real_server=$server
gone() { [[ -z $(ls /dev/ublkc* 2>/dev/null) ]]; }
end_server() {
    ask short '{"op":"stop"}' >/dev/null
    until_true 60 supervisor_gone short
    helped "delete $(jq .id "$(run_dir short)/device.json")" >/dev/null
}

# limited SHELL-COMMANDS: from now on, servers start after these.
limited() {
    server=$PWD/limited
    printf '#!/bin/sh\n%s "%s" "$@"\n' "$1" "$real_server" >limited
    chmod 755 limited
}

# Prints the engine that serves and why, or "none" when the server does not start.
served() {
    if [[ $(start_server short | jq .ready) == true ]]; then
        ask short '{"op":"status"}' | jq -r '.queues[0] | .engine + " " + .reason'
        end_server
    else
        until_true 60 supervisor_gone short
        echo none
    fi
    until_true 60 gone
}

limited exec
best=$(served)
echo "unlimited: $best"

# The deepest queue that the driver knows: completions of all its requests at once fit the ring.
limited exec
server_config short '[{ "name": "short", "type": "null", "size": 1073741824 }]' '{ "ublk": { "queues": 1, "depth": 4096 } }'
[[ $(start_server short | jq .ready) == true ]]
[[ "$(ask short '{"op":"status"}' | jq -r '.queues[0] | .engine + " " + .reason')" == "$best" ]]
fio --name=deep --filename="$(block_device short)" --direct=1 --ioengine=io_uring --iodepth=2048 --rw=randread --bs=4k \
    --size=100% --number_ios=20000 --output-format=terse --minimal >/dev/null
end_server
until_true 60 gone
server_config short '[{ "name": "short", "type": "null", "size": 1073741824 }]' '{ "ublk": { "queues": 1 } }'

# As container run-times do it: bpf(2) is not to be had.
cat >without-bpf.py <<'PYTHON'
import ctypes, os, struct, sys
BPF, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 321, 38, 22, 2
ALLOW, EPERM = 0x7FFF0000, 0x00050000 | 1
code = [(0x20, 0, 0, 0), (0x15, 0, 1, BPF), (0x06, 0, 0, EPERM), (0x06, 0, 0, ALLOW)]  # load nr; equal? refuse : allow
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(program)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, FILTER, header):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
PYTHON
limited "exec python3 $PWD/without-bpf.py"
refused=$(served)
echo "without bpf(2): $refused"
if [[ $best == uring-bpf* ]]; then [[ $refused == 'native no right to load programs'* ]]; else [[ $refused == native* ]]; fi

# Too few files for anything: one sentence, and nothing left behind.
for files in 4 12 18; do
    limited "ulimit -n $files; exec"
    [[ $(served) == none ]]
done

# Neither the right to lift the limit of locked memory, nor a high one.
limited 'ulimit -l 1024; exec setpriv --bounding-set -sys_resource'
[[ $(start_server short | jq .ready) == true ]]
fio --name=reads --filename="$(block_device short)" --direct=1 --ioengine=io_uring --iodepth=32 --rw=randread --bs=64k \
    --size=100% --number_ios=2000 --output-format=terse --minimal >/dev/null
[[ $(ask short '{"op":"status"}' | jq -r .phase) == ready ]]
end_server
