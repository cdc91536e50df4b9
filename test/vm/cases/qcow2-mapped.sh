#!/usr/bin/env bash
# Clusters whose place is known stay in the kernel, and none of them is ever where it no longer is: fio verifies an
# image's bytes while others trim, write zeros and make and delete snapshots of it, with a table for places that is far
# too small, on both engines, with an image below it that shines through. Afterwards QEMU finds the image whole, and
# every snapshot as it was.
# shellcheck source=../cases.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cases.sh"
# shellcheck source=../server.sh
source "$project/test/vm/server.sh"
trap 'status=$?; ((status == 0)) || tail -n 20 "$(run_dir image)/log"' EXIT

size=$((128 << 20))
# configure ENGINE CLUSTER CACHE: an image above a golden one, both in files.
configure() {
    local layers
    layers=$(jq -nc --arg top "$PWD/top.qcow2" --arg golden "$PWD/golden.qcow2" --argjson size $size --argjson cluster "$2" \
        --argjson cache "$3" '
        { create: "ifBlank", cacheBytes: $cache, clusterBytes: $cluster } as $params
        | [{ name: "image", type: "qcow2", size: $size, children: [1, 2], params: ($params + { backing: true }) },
           { name: "top", type: "file", size: (4 * $size), path: $top, params: { path: $top, direct: "on", grows: true } },
           { name: "golden", type: "qcow2", size: $size, children: [3], params: { create: "never", cacheBytes: $cache },
             readOnly: true },
           { name: "below", type: "file", size: (4 * $size), path: $golden, readOnly: true,
             params: { path: $golden, direct: "on", grows: true } }]')
    server_config image "$layers" "{ \"ublk\": { \"queues\": 2, \"depth\": 32, \"id\": -1, \"engine\": \"$1\", \"poll\": \"off\" } }"
    # What server_config does not say.
    jq '.table.layers |= map(if .name == "golden" or .name == "below" then .readOnly = true else . end)' \
        "$(run_dir image)/config.json" >config.new
    mv config.new "$(run_dir image)/config.json"
}

snapshot() { # VERB NAME
    local number
    number=$(ask image "{\"op\":\"snapshot\",\"layer\":\"image\",\"verb\":\"$1\",\"name\":\"$2\"}" | jq .number)
    snapshot_ended() { [[ $(ask image "{\"op\":\"snapshot\",\"layer\":\"image\",\"verb\":\"result\",\"number\":$number}" |
        jq -r .state) != under-way ]]; }
    until_true 120 snapshot_ended
    [[ $(ask image "{\"op\":\"snapshot\",\"layer\":\"image\",\"verb\":\"result\",\"number\":$number}" | jq -r .state) == 'done' ]]
}

qemu-img create -q -f qcow2 golden.qcow2 $size
qemu-io -c 'write -P 0x47 0 128M' golden.qcow2 >/dev/null

engines=$(engines_here | tr "\n" " ")
for shape in "uring-bpf 65536 33554432" "uring-bpf 4096 65536" "native 4096 65536"; do
    read -r engine cluster cache <<<"$shape"
    if [[ " $engines " == *"$engine"* ]]; then
        echo "--- $engine, clusters of $cluster bytes, a cache of $cache bytes"
        rm -f top.qcow2
        qemu-img create -q -f qcow2 -o "cluster_size=$cluster" -b golden.qcow2 -F qcow2 top.qcow2 $size
        configure "$engine" "$cluster" "$cache"
        [[ $(start_server image | jq .ready) == true ]]
        dev=$(block_device image)

        # The first half is verified, the second trimmed and written zeros; snapshots change all of it.
        keep_verifying "$dev" --iodepth=32 --bssplit=4k/70:64k/20:256k/10 --size=64m --io_size=24m --fsync=64 \
            --verify_backlog=256 --trim_percentage=10 --trim_verify_zero=1
        fio --name=trims --filename="$dev" --direct=1 --ioengine=io_uring --iodepth=16 --rw=randtrimwrite --bs=16k --offset=64m \
            --size=64m --io_size=48m --output-format=terse --minimal >/dev/null &
        trims=$!
        for round in 1 2 3; do
            snapshot create "s$round"
            is_busy() { (($(ask image '{"op":"status"}' | jq '[.queues[].requests] | add') > round * 400)); }
            until_true 120 is_busy
        done
        snapshot delete s2
        wait "$trims"
        end_verifying

        if [[ $engine == uring-bpf && $cluster == 65536 ]]; then
            # Once it has been read, all of it is known: nothing of a second time leaves the kernel.
            read_all() { fio --name=reads --filename="$dev" --direct=1 --ioengine=io_uring --iodepth=32 --rw="$1" --bs="$2" --size=64m \
                --output-format=terse --minimal >/dev/null; }
            read_all read 256k
            before=$(ask image '{"op":"status"}')
            read_all randread 4k
            after=$(ask image '{"op":"status"}')
            jq -n --argjson before "$before" --argjson after "$after" '
                def sum(f): map(f) | add;
                { kernel: (($after.queues | sum(.kernel.requests)) - ($before.queues | sum(.kernel.requests))),
                  passed: (($after.queues | sum(.kernel.redirected | add)) - ($before.queues | sum(.kernel.redirected | add))),
                  enters: (($after.queues | sum(.enters)) - ($before.queues | sum(.enters))) }' | tee counts.json
            jq -e '.kernel >= 16384 and .passed * 1000 < .kernel and .enters * 1000 < .kernel' counts.json
        fi
        blockdev --flushbufs "$dev"
        dd if="$dev" bs=1M iflag=direct status=none | sha256sum >served.sum
        delete_device image
        qemu-img check top.qcow2
        qemu-img snapshot -l top.qcow2
        qemu-img convert -O raw top.qcow2 all.raw
        sha256sum <all.raw >qemu.sum
        cmp served.sum qemu.sum
        for name in s1 s3; do qemu-img convert -l "$name" -O raw top.qcow2 all.raw; done
        rm -f all.raw
    fi
done
