#!/usr/bin/env bash
# Prints the virtiofsd to run: the host's, or for a plain user of Debian 12 that of Debian 13, fetched into the cache
# together with the C library that it needs.
#
# Why: Debian 12's virtiofsd, the older one in C, gives up its supplementary groups, which no user namespace of a
# plain user allows; so it ends for everybody but root.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/private-apt.sh"

of_today() { [[ $("$1" --help 2>&1) == *--shared-dir* ]]; }

fetch_virtiofsd() {
    local library=$folder/usr/lib/x86_64-linux-gnu
    rm -rf "$work"
    mkdir -p "$work"
    update_lists trixie || return 1
    say "fetching virtiofsd from trixie"
    fetch_into "$work" virtiofsd libc6 libgcc-s1 libcap-ng0 libseccomp2 || return 1
    printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$library/ld-linux-x86-64.so.2" "$library" \
        "$folder/usr/libexec/virtiofsd" >"$work/root/virtiofsd"
    chmod 755 "$work/root/virtiofsd"
    rm -rf "$folder"
    mv "$work/root" "$folder"
}

host=''
for host in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd ''; do
    [[ ! -x $host ]] || break
done
[[ -n $host ]] || skip "virtiofsd is missing (run: npm run setup)"
if ((EUID == 0)) || of_today "$host"; then
    echo "$host"
    exit
fi
need apt-get dpkg-deb flock
lock_cache
folder=$cache/virtiofsd
if of_today "$folder/virtiofsd" || { fetch_virtiofsd && of_today "$folder/virtiofsd"; }; then
    echo "$folder/virtiofsd"
else
    skip "this virtiofsd serves root alone, and no newer one can be fetched (see $cache/apt-trixie/log)"
fi
