#!/usr/bin/env bash
# Prints the path of the newest <linux/ublk_cmd.h> that Debian's backports carry; looked up once a day, nothing is
# installed. Exit 77: cannot be had on this machine now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/private-apt.sh"
need apt-get dpkg-deb flock
lock_cache

header=$cache/uapi/usr/include/linux/ublk_cmd.h
if [[ -z "$(find "$header" -mmin -1440 2>/dev/null)" ]]; then
    mkdir -p "$work"
    if update_lists trixie-backports && fetch_into "$work" linux-libc-dev; then
        mkdir -p "$(dirname "$header")"
        cp "$work/root/usr/include/linux/ublk_cmd.h" "$header"
        touch "$header"
    else
        [[ -e $header ]] || skip "no kernel header: trixie-backports cannot be reached by apt and none is cached"
    fi
fi
echo "$header"
