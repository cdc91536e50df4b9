#!/usr/bin/env bash
# `npm run torture`: the simulator of the data plane's crash states, optimised. Arguments go to it: -- --help.
# `--layer qcow2-image`: that of the qcow2 library by itself, with snapshots that are applied, disks that grow and
# images that are repaired.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash deploy/setup.sh --build --test

library_alone() {
    local states=20000 seed=1
    while (($# > 0)); do
        case ${1-} in
        --layer) ;;
        --states) states=${2-} ;;
        --seed) seed=${2-} ;;
        *)
            echo "torture: --layer qcow2-image takes --states N and --seed S alone, not $1" >&2
            exit 2
            ;;
        esac
        shift 2 || shift
    done
    bash test/qcow2/build.sh
    native/build/Qcow2/image-crash --states "$states" --seed "$seed"
}

if [[ " $* " == *" --layer qcow2-image "* ]]; then
    library_alone "$@"
    exit
fi
bash test/torture/build.sh fast
exec native/build/Torture/fast/torture "$@"
