# Shared by the cases: sourced, with set -euo pipefail in force afterwards. Words for what every case does.
# shellcheck shell=bash
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Code that V8 compiles while it runs costs an emulated processor more than it saves, here and in the controller that a
# command starts.
ublk_stack() { NODE_OPTIONS=--jitless node --no-expose-wasm "${project:?}/dist/cli.js" "$@"; }

# device STACK EXPORT: the block device behind an export.
device() { readlink -f "/dev/ublk-stack/$1/$2"; }

# verify DEVICE [FIO OPTION…]: random writes of mixed sizes, each read back and compared by fio.
verify() {
    local target=$1
    shift
    fio --name=verify --filename="$target" --direct=1 --ioengine=io_uring --iodepth=16 --rw=randwrite \
        --bssplit=4k/50:16k/20:64k/20:256k/10 --size=100% --io_size=24m --verify=crc32c --verify_fatal=1 \
        --randseed=7 --output-format=terse --minimal "$@" >fio.out 2>fio.err || {
        cat fio.out fio.err
        return 1
    }
}

# keep_verifying DEVICE [FIO OPTION…]: verify in the background, again and again, until end_verifying, which fails when any
# of it did.
keep_verifying() {
    touch verifying
    while [[ -e verifying ]]; do
        verify "$@" || { touch unverified; break; }
    done &
    verifier=$!
}
end_verifying() {
    rm -f verifying
    wait "$verifier"
    [[ ! -e unverified ]]
}

# until_true SECONDS COMMAND…: waits, bounded, for a condition that another process brings about.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || {
            echo "still false after the wait: $*"
            return 1
        }
        read -rt 0.05 <> <(:) || true
    done
}
