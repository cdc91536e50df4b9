# shellcheck shell=bash
# Sourced: packages from a suite of Debian that the host does not use, without installing anything. apt runs with
# its own configuration, lists and cache, below $cache. Exit 77: cannot be had on this machine now. $speaker says who
# talks.

cache=${UBLK_STACK_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ublk-stack/vm}
architecture=${architecture:-amd64} # the virtual machine's
fallback_mirror=http://deb.debian.org/debian
PATH=$PATH:/usr/sbin:/sbin

say() { echo "${speaker:-vm}: $*" >&2; }
skip() { say "$*"; exit 77; }

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is missing (run: npm run setup)"
    done
}

# The host's own mirror comes first: it is the one that proxies and firewalls of this place let through.
mirrors() {
    # shellcheck disable=SC2016 # the $(…) are apt's
    apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk '$1 == "Debian" && $2 !~ /security/ && $3 ~ /^http/ && !seen[$3]++ { sub(/\/$/, "", $3); print $3 }' || true
    echo "$fallback_mirror"
}

# configure_apt MIRROR SUITE: apt's private configuration. Hooks of the host (Post-Invoke) must not run for it: they
# touch the host's cache.
configure_apt() {
    local keyring
    keyring=$(keyring) || exit
    write_configuration
    echo "deb [signed-by=$keyring arch=$architecture] $1 $2 main" >"$apt/sources.list"
}

keyring() {
    local keyring
    for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp} ''; do
        [[ -z $keyring ]] || [[ ! -e $keyring ]] || break
    done
    [[ -n $keyring ]] || skip "no Debian archive keyring (package debian-archive-keyring)"
    echo "$keyring"
}

write_configuration() {
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
    cat >"$apt/apt.conf" <<END
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$apt/cache";
APT::Sandbox::User "$(id -un)";
APT::Architecture "$architecture";
Acquire::Languages "none";
Acquire::Retries "2";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
}

# update_lists SUITE: sets $apt, the folder of that suite's apt.
update_lists() {
    local mirror
    apt=$cache/apt-$1
    mkdir -p "$apt"
    while read -r mirror; do
        configure_apt "$mirror" "$1"
        # Without Error-Mode apt-get calls an unreachable mirror a warning and exits 0.
        if apt-get -c "$apt/apt.conf" -qq -o APT::Update::Error-Mode=any update >"$apt/log" 2>&1; then return 0; fi
    done < <(mirrors | awk '!seen[$0]++')
    return 1
}

# fetch_into FOLDER PACKAGE…: unpacks them into FOLDER/root.
fetch_into() {
    local into=$1 package
    shift
    (cd "$into" && apt-get -c "$apt/apt.conf" -qq download "$@") >"$apt/log" 2>&1 || return 1
    for package in "$into"/*.deb; do
        dpkg-deb -x "$package" "$into/root" && rm "$package" || return 1
    done
}

# One process at a time fills the cache; the others wait, then find it filled. Sets $work, a folder that is removed.
lock_cache() {
    mkdir -p "$cache"
    cache=$(cd "$cache" && pwd -P)
    exec 9>"$cache/lock"
    flock 9
    work=$cache/unpack
    # shellcheck disable=SC2064 # this very folder
    trap "rm -rf '$work'" EXIT
}
