#!/usr/bin/env bash
# Prints the folder of libbpf's headers (FOLDER/include/bpf) and static library (FOLDER/lib/libbpf.a): the system's
# where it is new enough to attach struct_ops with a link and to know open-coded iterators (1.3), else that of Debian
# 12's backports, fetched once, without installing it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
speaker=libbpf
architecture=$(dpkg --print-architecture)
. deploy/private-apt.sh
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ublk-stack/build

version_of() {
    awk '/define LIBBPF_(MAJOR|MINOR)_VERSION/ { v[++n] = $3 } END { print v[1] + 0, v[2] + 0 }' "$1/bpf/libbpf_version.h" \
        2>/dev/null || echo 0 0
}
new_enough() {
    local major minor
    read -r major minor < <(version_of "$1")
    ((major > 1 || (major == 1 && minor >= 3)))
}

multiarch=$(cc -print-multiarch 2>/dev/null || true)
folder=$cache/libbpf
if [[ ! -e $folder/lib/libbpf.a ]]; then
    lock_cache
    rm -rf "$work"
    mkdir -p "$work/out/include" "$work/out/lib"
    if new_enough /usr/include && [[ -e /usr/lib/$multiarch/libbpf.a ]]; then
        cp -r /usr/include/bpf "$work/out/include/"
        cp "/usr/lib/$multiarch/libbpf.a" "$work/out/lib/"
    else
        say "fetching libbpf from bookworm-backports"
        need apt-get dpkg-deb
        if ! update_lists bookworm-backports || ! fetch_into "$work" libbpf-dev; then
            say "cannot be fetched"
            exit 1
        fi
        new_enough "$work/root/usr/include" || { say "that of bookworm-backports is too old"; exit 1; }
        cp -r "$work/root/usr/include/bpf" "$work/out/include/"
        find "$work/root" -name libbpf.a -exec cp {} "$work/out/lib/" \;
    fi
    rm -rf "$folder"
    mv "$work/out" "$folder"
fi
echo "$folder"
