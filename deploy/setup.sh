#!/usr/bin/env bash
# Installs what this project needs on Debian 12 or 13: packages by apt (through sudo for a plain user), then the
# locked npm packages. What is there is left alone, so running it again costs a moment and touches nothing.
#
#   setup.sh [--build] [--test]     --build (default): to build and run · --test: what every test and the bench needs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    echo "usage: setup.sh [--build] [--test]" >&2
    exit 2
}
say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}

# libnbd-bin: the demo reads and writes its NBD export with nbdcopy. kmod: loads ublk_drv. clang compiles what runs in the
# kernel, with libbpf's headers. zlib and libzstd read compressed clusters of qcow2 images.
build_packages=(build-essential python3 liburing-dev nlohmann-json3-dev libblkid-dev zlib1g-dev libzstd-dev libnbd-bin
    kmod clang libbpf-dev)
# qemu-storage-daemon and virtiofsd come with qemu-system-x86 in Debian 12; in 13 the one is in qemu-utils, the
# other a package of its own. zstd unpacks the virtual machine's kernel. libelf is what libbpf needs, with which tests load
# programs; libclang-rt has the fuzzer. QEMU's iotests want all of its programs, python3, and dpkg-source, which comes with
# build-essential.
test_packages=(llvm libclang-rt-dev libelf-dev clang-format shellcheck fio nbdkit qemu-utils qemu-system-x86 virtiofsd
    xfsprogs e2fsprogs mdadm dmsetup iproute2 procps jq zstd zsh fish systemd bsdutils)

groups=()
for option in "$@"; do
    case $option in
        --build) groups+=(build) ;;
        --test) groups+=(test) ;;
        *) usage ;;
    esac
done
packages=("${build_packages[@]}")
[[ " ${groups[*]} " != *" test "* ]] || packages+=("${test_packages[@]}")

need_node() {
    local major
    [[ -n $(command -v node) && -n $(command -v npm) ]] ||
        fail "Node 20 or newer with npm is the one thing to have first (Debian 13: apt-get install nodejs npm)"
    major=$(node -p 'process.versions.node.split(".")[0]')
    ((major >= 20)) || fail "Node $major is too old: 20 or newer is needed"
}

installed() {
    # shellcheck disable=SC2016 # dpkg's own format
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}
offered() { [[ -n $(apt-cache policy "$1" 2>/dev/null | sed -n '/Candidate: [^(]/p') ]]; }

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        installed "$package" || echo "$package"
    done
    bash deploy/node-headers.sh >/dev/null 2>&1 || echo libnode-dev
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Without --error-on… a dead mirror is no error of `update`; what it leaves out shows when packages are installed.
update_lists() {
    say "updating apt's lists"
    # Someone else's `apt-get update` holds a lock that the timeout above does not cover.
    for _ in {1..30}; do
        apt update >"$log" 2>&1 || true
        grep -q 'Could not get lock' "$log" || return 0
        sleep 2
    done
}

install_packages() {
    local package
    local -a missing wanted=()
    mapfile -t missing < <(missing_packages)
    # virtiofsd is a package in some releases only: where apt does not know it, qemu-system-common brings it.
    if [[ ${missing[*]} == virtiofsd && -x /usr/lib/qemu/virtiofsd ]]; then missing=(); fi
    if ((${#missing[@]} == 0)); then
        say "system packages: all there"
        return
    fi
    command -v apt-get >/dev/null || fail "this is not Debian: install by other means ${missing[*]}"
    ((EUID == 0)) || sudo true ||
        fail "sudo is missing or says no; run as root: apt-get install --no-install-recommends ${missing[*]}"
    update_lists
    for package in "${missing[@]}"; do
        if offered "$package"; then
            wanted+=("$package")
        elif [[ $package != virtiofsd ]]; then
            sed -n '/^[EW]:/p' "$log" | head -n 3 >&2
            fail "apt does not offer $package: no network, or not Debian 12 or 13"
        fi
    done
    ((${#wanted[@]} > 0)) || return 0
    say "installing ${wanted[*]}"
    apt install -y --no-install-recommends "${wanted[@]}" 2>&1 | tee "$log" | awk -v wanted=" ${wanted[*]} " '
        /^Need to get/ { print "setup:   fetching " $4, $5 }
        /^Setting up/ { sub(/:.*/, "", $3); if (index(wanted, " " $3 " ")) print "setup:   " $3 }
        { fflush() }' || {
        grep -E '^[EW]:' "$log" | head -n 5 >&2
        fail "apt could not install them"
    }
}

install_modules() {
    local how=install
    if [[ -e package-lock.json ]]; then
        how=ci
        if [[ node_modules/.package-lock.json -nt package-lock.json ]]; then
            say "npm packages: all there"
            return
        fi
    elif [[ -d node_modules ]]; then
        return
    fi
    say "installing npm packages (npm $how)"
    # npm of late refuses a lock that lacks packages of other platforms, as npm leaves them out itself where a
    # registry has not got them. What is in the lock gets installed from it by `npm install` just the same.
    npm "$how" --no-audit --no-fund --loglevel=error >"$log" 2>&1 ||
        { grep -q EUSAGE "$log" && npm install --no-save --no-audit --no-fund --loglevel=error >"$log" 2>&1; } || {
        grep -v '^npm warn' "$log" | head -n 12 >&2
        fail "npm $how failed"
    }
    # npm keeps the time of an unchanged tree: say that it has been looked at.
    touch node_modules/.package-lock.json
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
need_node
install_packages
bash deploy/node-headers.sh >/dev/null
bash deploy/libbpf.sh >/dev/null
install_modules
