#!/usr/bin/env bash
# The file asks for an engine: who serves is said and counted, a change hands a mounted device over, and a host that
# cannot serve so refuses in one sentence and leaves what ran running.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"

stack() { # ENGINE POLL
    cat <<YAML
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: asked }
spec:
  engine: $1
  layers:
    a: { file: { path: a.img, size: 64MiB } }
    b: { file: { path: b.img, size: 64MiB } }
    safe: { mirror: { members: [a, b] } }
  exports:
    data: { layer: safe, ublk: { queues: 2, poll: $2 } }
YAML
}

engines() { ublk_stack status "$1" -o json | jq -r '[.items[0].status.queues[].engine] | unique | join(" ")'; }

probe=$("$project/native/build/Release/ublk-stack-server" --probe-engine)
echo "$probe"
works=$(jq .works <<<"$probe")
doctor=$(ublk_stack doctor || true)
grep 'engine uring-bpf' <<<"$doctor"
[[ $works == true || $doctor == *'engine uring-bpf: not available'* ]]

stack native auto >asked.yaml
ublk_stack apply asked.yaml
dev=$(device asked data)
ublk_stack explain asked | grep 'why: the file says so'

stack uring-bpf on >asked.yaml
if [[ $works != true ]]; then
    status=0
    ublk_stack apply asked.yaml 2>refused || status=$?
    cat refused
    [[ $status == 1 && $(<refused) == *'engine uring-bpf cannot serve: '*'[engine-refused]'* ]]
    [[ $(engines asked) == native && $(device asked data) == "$dev" ]]
    ublk_stack delete asked
    exit
fi

# The server is replaced under a device that is written and read back.
keep_verifying "$dev" --io_size=8m --verify_backlog=64
planned=$(ublk_stack diff asked.yaml) || true
echo "$planned"
[[ $planned == *'ublk.engine: native → uring-bpf'*'ublk.poll: auto → on'* ]]
ublk_stack apply asked.yaml
[[ $(device asked data) == "$dev" ]]
end_verifying

sysctl -q kernel.bpf_stats_enabled=1
verify "$dev"
blkdiscard --offset 1M --length 1M "$dev"
ublk_stack explain asked | tee explained
sysctl -q kernel.bpf_stats_enabled=0
grep -q '2 queues: engine uring-bpf' explained
grep -q 'done in the kernel: .* while that was measured' explained
grep -q '[1-9] operation: discard' explained
ublk_stack delete asked
cmp a.img b.img

# Data that is copied cannot be served in the kernel: auto goes without, and says why.
cat >copied.yaml <<'YAML'
apiVersion: ublk-stack/v1
kind: Stack
metadata: { name: copied }
spec:
  layers:
    m: { memory: { size: 16MiB } }
  exports:
    data: { layer: m }
YAML
ublk_stack apply copied.yaml
[[ $(engines copied) == native ]]
ublk_stack explain copied | grep 'why: data is copied'
sed -i 's/^spec:/&\n  engine: uring-bpf/' copied.yaml
status=0
ublk_stack apply copied.yaml 2>refused || status=$?
cat refused
[[ $status == 1 && $(<refused) == 'error: device "m": engine uring-bpf cannot serve: data is copied'* ]]
[[ $(<refused) == *'[engine-refused]'*'delete the stack and apply it again'* ]]
[[ $(engines copied) == native ]]
ublk_stack delete copied
ublk_stack apply copied.yaml
[[ $(engines copied) == uring-bpf ]]
verify "$(device copied data)" --io_size=8m
ublk_stack delete copied
