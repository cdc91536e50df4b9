#!/usr/bin/env bash
# Prints `multi` or `single`, whether it may use a thread per processor, and the QEMU to run: the host's, or where that is older than 8.1 a newer one from the backports of the host's
# own release, fetched into the cache and never installed.
#
# Why: Debian 12's QEMU 7.2 emulates x86 wrongly under a kernel. Code that another processor patches while it is
# being translated stays unpatched (the kernel dies of an int3 in one boot of fifteen), and an interrupt may find
# garbage in the flags register (6.12 dies of a double fault within a minute). With one thread for all processors
# the first cannot happen, and 7.3 has not been seen to meet the second: that is the way out without a network.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/private-apt.sh"

sound() {
    local major minor
    read -r major minor < <("$1" --version 2>/dev/null | sed -nE '1s/.*version ([0-9]+)\.([0-9]+).*/\1 \2/p') || return 1
    ((major * 100 + minor >= 801))
}

# QEMU looks for its firmware where it would have been installed, unless told otherwise.
fetch_qemu() {
    local suite
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")-backports
    rm -rf "$work"
    mkdir -p "$work"
    update_lists "$suite" || return 1
    say "fetching QEMU from $suite"
    fetch_into "$work" qemu-system-x86 qemu-system-data seabios || return 1
    printf '#!/bin/sh\nexec %q -L %q -L %q "$@"\n' "$folder/usr/bin/qemu-system-x86_64" "$folder/usr/share/qemu" \
        "$folder/usr/share/seabios" >"$work/root/qemu"
    chmod 755 "$work/root/qemu"
    rm -rf "$folder"
    mv "$work/root" "$folder"
}

need qemu-system-x86_64
host=$(command -v qemu-system-x86_64)
if sound "$host"; then
    echo "multi $host"
    exit
fi
need apt-get dpkg-deb flock
lock_cache
folder=$cache/qemu
if sound "$folder/qemu" || { fetch_qemu && sound "$folder/qemu"; }; then
    echo "multi $folder/qemu"
else
    say "this QEMU is older than 8.1 and no newer one can be fetched: emulating with one thread"
    echo "single $host"
fi
