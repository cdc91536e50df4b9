#!/usr/bin/env bash
# The kernel does not take the program of the loop: its compiler is switched off, or its verifier refuses. An apply
# succeeds nevertheless, the native engine serves, and log, status, explain and doctor say why; asked for outright, the
# engine is refused by name, and what ran goes on.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

server=$project/native/build/Release/ublk-stack-server
probe=$("$server" --probe-engine)
if [[ $(jq .works <<<"$probe") != true ]]; then
    echo "$probe"
    [[ ! $(uname -r) =~ ^([7-9]|[1-9][0-9])\.[1-9] ]]
    exit
fi
trap 'sysctl -q net.core.bpf_jit_enable=1; umount -ql "$server" || true' EXIT

stack() { # ENGINE POLL
    cat <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: refused }
spec:
  engine: $1
  layers:
    disk: { file: { path: disk.img, size: 64MiB } }
  exports:
    data: { layer: disk, ublk: { queues: 1, poll: $2 } }
YAML
}
# served_natively REASON: whoever looks is told.
served_natively() {
    local queue
    queue=$(ublk_stack status refused -o json | jq -c '.items[0].status.queues[0] | [.engine, .reason]')
    [[ $queue == "[\"native\",\"$1\"]" ]]
    grep -F "served by the native engine: $1" "$UBLK_STACK_STATE_DIR/logs/refused.log"
}

echo "== no compiler"
why='the kernel'"'"'s compiler for BPF is off (net.core.bpf_jit_enable) or cannot call its functions'
sysctl -q net.core.bpf_jit_enable=0
stack auto auto >refused.yaml
ublk_stack apply refused.yaml
served_natively "$why"
ublk_stack explain refused | grep -F "why: $why"
sysctl -q net.core.bpf_jit_enable=1

echo "== a verifier that refuses"
# Whatever it is that another kernel's verifier does not like: here the first instruction reads a register that holds nothing.
python3 - "$server" stumbling <<'PYTHON'
import struct, sys
program = bytearray(open(sys.argv[1], "rb").read())
begin = -1
while True:
    begin = program.index(b"\x7fELF\x02\x01\x01", begin + 1)
    if struct.unpack_from("<H", program, begin + 18)[0] == 247:  # EM_BPF
        break
table, = struct.unpack_from("<Q", program, begin + 40)
nr, names = struct.unpack_from("<HH", program, begin + 60)
header = lambda index: struct.unpack_from("<IIQQQQ", program, begin + table + 64 * index)
strings = begin + header(names)[4]
for index in range(nr):
    name, kind, _, _, offset, _ = header(index)
    at = strings + name
    if kind == 1 and program[at:program.index(b"\0", at)] == b"struct_ops.s/loop_step":
        program[begin + offset:begin + offset + 8] = b"\xbf\x90\0\0\0\0\0\0"  # r0 = r9
        break
else:
    sys.exit("no such program")
open(sys.argv[2], "wb").write(program)
PYTHON
chmod 755 stumbling
mount --bind stumbling "$server"
why='the kernel'"'"'s verifier does not take the program'
ublk_stack doctor -v >told || true
# In plain words first, then what the verifier says.
grep -A 100 -F "engine uring-bpf: not available: $why" told | grep -A 100 "the last words of the kernel's verifier:" |
    grep 'R9 !read_ok'


dev=$(device refused data)
stack uring-bpf auto >refused.yaml
status=0
ublk_stack apply refused.yaml 2>error || status=$?
cat error
[[ $status == 1 && $(<error) == *"engine uring-bpf cannot serve: $why"*'[engine-refused]'* ]]
[[ $(device refused data) == "$dev" ]]
verify "$dev" --io_size=4m
# Another server, which tries again.
stack auto off >refused.yaml
ublk_stack apply refused.yaml
served_natively "$why"
umount -l "$server" # the server that runs is made of it

# Once the kernel takes it, the engine that is asked for takes the device over.
stack uring-bpf auto >refused.yaml
ublk_stack apply refused.yaml
[[ $(device refused data) == "$dev" ]]
[[ $(ublk_stack status refused -o json | jq -r '.items[0].status.queues[0].engine') == uring-bpf ]]
verify "$dev" --io_size=4m
ublk_stack delete refused
