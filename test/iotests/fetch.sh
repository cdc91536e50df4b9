#!/usr/bin/env bash
# Prints the folder with QEMU's own iotests, those of the QEMU that is installed, fetching Debian's source package
# first where the cache has none:
#
#   FOLDER/tests/qemu-iotests    the tests, what they expect, and check, which runs them
#   FOLDER/python                what those written in Python import
#
# They are under the GPL, and stay in the cache: nothing of them is part of this project. Exit 77: cannot be had on
# this machine now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/private-apt.sh"
speaker=iotests

# Where the host gets its packages from, security updates and all: the version that is installed came from one of them.
source_lines() {
    local signed suite
    signed=$(keyring) || exit
    signed="[signed-by=$signed]"
    # shellcheck disable=SC2016 # the $(…) are apt's
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
        awk -v signed="$signed" '$1 == "Debian" && $2 == "main" { print "deb-src", signed, $3, $4, $2 }'
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [[ -z $suite ]] || echo "deb-src $signed $fallback_mirror $suite main"
}

fetch_source() {
    apt=$cache/apt-source
    rm -rf "$work" && mkdir -p "$apt" "$work" || return 1
    write_configuration
    source_lines >"$apt/lines" || exit
    awk '!seen[$0]++' "$apt/lines" >"$apt/sources.list"
    # A mirror of several that cannot be reached is no matter, if another has the version.
    apt-get -c "$apt/apt.conf" -qq update >"$apt/log" 2>&1 || true
    (cd "$work" && apt-get -c "$apt/apt.conf" -qq source --download-only "qemu=$version") >>"$apt/log" 2>&1
}

# The whole package is unpacked, because Debian's patches are for the whole of it; two folders of it are kept.
keep_tests() {
    dpkg-source -x "$work"/qemu_*.dsc "$work/all" >>"$apt/log" 2>&1 || return 1
    mkdir -p "$work/kept/tests" "${folder%/*}" && mv "$work/all/tests/qemu-iotests" "$work/kept/tests/" &&
        mv "$work/all/python" "$work/kept/" && mv "$work/kept" "$folder"
}

need apt-get dpkg-source python3 flock qemu-img
# shellcheck disable=SC2016 # dpkg's own format
version=$(dpkg-query -W -f '${source:Version}' qemu-utils 2>/dev/null) ||
    skip "qemu-img is not of Debian's package qemu-utils: whose tests would be its own is not known"
lock_cache
folder=$cache/iotests/${version//:/_}
if [[ ! -d $folder ]]; then
    say "fetching the source package of QEMU $version"
    fetch_source || skip "the source package of QEMU $version cannot be fetched by apt (see $apt/log)"
    keep_tests || skip "the source package of QEMU $version has no iotests, or cannot be unpacked (see $apt/log)"
fi
touch "$folder"
find "${folder%/*}" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
echo "$folder"
