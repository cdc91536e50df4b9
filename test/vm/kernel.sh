#!/usr/bin/env bash
# Prints the folder of a stock Debian kernel, fetching it first where the cache has none:
#
#   kernel.sh newest|6.12|6.1
#
#   FOLDER/image              what QEMU boots
#   FOLDER/initrd             only where the kernel has virtiofs as a module
#   FOLDER/version            as `uname -r` will say it
#   FOLDER/lib/modules/…      for modprobe -d FOLDER
#
# Suites drop old kernels, so the newest is looked up (once a day) and never named here.
# Exit 77: cannot be had on this machine now.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/private-apt.sh"

kind=${1:-newest}
case $kind in
    newest) suite=trixie-backports ;;
    6.12) suite=trixie ;;
    6.1) suite=bookworm ;;
    *) echo "vm: unknown kernel '$kind' (newest, 6.12 or 6.1)" >&2; exit 2 ;;
esac

# Packages whose names match, as they stand in the suite's own list (apt also knows names that are only referred to).
packages() { apt-cache -c "$apt/apt.conf" search --names-only "$1" | cut -d' ' -f1; }

# Up to 7.2 a kernel is one linux-image package; later it is binary, modules and base. Only the build with the
# suffix -unsigned is always there: the signed ones follow some days later.
kernel_packages() {
    local v=$1 name
    for name in "linux-binary-$v" "linux-binary-unsigned-$v" "linux-image-$v" "linux-image-$v-unsigned"; do
        if grep -qxF -- "$name" <<<"$known"; then echo "$name"; break; fi
    done
    for name in "linux-modules-$v" "linux-base-$v"; do
        if grep -qxF -- "$name" <<<"$known"; then echo "$name"; fi
    done
}

# An uncompressed kernel boots 0.8 s sooner under emulation (through its PVH entry). Where the payload is not
# zstd, or zstd is not there, the compressed image does as well.
place_image() {
    local vmlinuz=$1 image=$2 setup offset length
    setup=$(od -An -tu1 -j497 -N1 "$vmlinuz")
    read -r offset length < <(od -An -tu4 -j584 -N8 "$vmlinuz")
    offset=$(((setup + 1) * 512 + offset))
    # The payload's last four bytes are the unpacked size, not zstd.
    if dd if="$vmlinuz" iflag=skip_bytes,count_bytes skip="$offset" count=$((length - 4)) bs=1M status=none |
        zstd -qdc >"$image" 2>/dev/null &&
        [[ "$(head -c 4 "$image" | tr -d '\0')" = $'\177ELF' ]]; then
        return
    fi
    cp "$vmlinuz" "$image"
}

# A kernel with virtiofs as a module needs something to load it: busybox and the modules, in loading order.
make_initrd() {
    local tree=$work/initrd out=$work/out version=$1 module i=10
    mkdir -p "$tree"/{bin,modules,proc,newroot} && fetch_into "$tree" busybox-static || return 1
    find "$tree/root" -name busybox -type f -exec mv {} "$tree/bin/busybox" \; && rm -rf "$tree/root"
    while read -r module; do
        cp "$module" "$tree/modules/$i-${module##*/}" || return 1
        i=$((i + 1))
    done < <(modprobe -d "$out" -S "$version" -a --show-depends virtio_pci virtiofs |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
    cat >"$tree/init" <<'END'
#!/bin/busybox sh
for module in /modules/*; do /bin/busybox insmod "$module"; done
/bin/busybox mount -t proc proc /proc
init=$(/bin/busybox sed 's/.* init="\([^"]*\)".*/\1/' /proc/cmdline)
/bin/busybox umount /proc
/bin/busybox mount -t virtiofs rootfs /newroot
exec /bin/busybox switch_root /newroot "$init" "$@"
END
    chmod 755 "$tree/init"
    (cd "$tree" && find . | bin/busybox cpio -o -H newc 2>/dev/null) >"$out/initrd"
}

# Callers test the result, and bash ignores `set -e` there: every step has to say so itself.
unpack() {
    local folder=$1 modules vmlinuz version
    shift
    say "fetching $*"
    rm -rf "$work"
    mkdir -p "$work/out/usr/lib/modules" && ln -s usr/lib "$work/out/lib" || return 1
    fetch_into "$work" "$@" || return 1
    modules=$(find "$work/root" -type d -path '*lib/modules/*' -name kernel -prune)
    vmlinuz=$(find "$work/root" -name 'vmlinuz*' -type f | head -n 1)
    [[ -n $modules ]] && [[ -n $vmlinuz ]] || return 1
    modules=${modules%/kernel}
    version=${modules##*/}
    echo "$version" >"$work/out/version"
    place_image "$vmlinuz" "$work/out/image" &&
        mv "$modules" "$work/out/lib/modules/" &&
        depmod -b "$work/out" "$version" || return 1
    if ! grep -q '/virtiofs\.ko' "$work/out/lib/modules/$version/modules.builtin"; then
        make_initrd "$version" || return 1
    fi
    mv "$work/out" "$folder"
}

find_kernel() {
    local version folder
    local -a wanted
    update_lists "$suite" || return 1
    known=$(packages '^linux-(image|binary|modules|base)-.*-cloud-amd64(-unsigned)?$')
    while read -r version; do
        mapfile -t wanted < <(kernel_packages "$version")
        folder=$cache/kernels/$version
        if [[ -d $folder ]] || unpack "$folder" "${wanted[@]}"; then
            ln -sfn "kernels/$version" "$cache/$kind"
            return 0
        fi
    done < <(sed -nE 's/^linux-(image|binary(-unsigned)?)-([0-9].*-cloud-amd64)(-unsigned)?$/\3/p' <<<"$known" | sort -Vru)
    return 1
}

[[ $(uname -m) = x86_64 ]] || skip "no kernel for $(uname -m): the virtual machine is x86_64 only"
need apt-get apt-cache dpkg-deb depmod flock
lock_cache
mkdir -p "$cache/kernels"

current=$cache/$kind
if [[ -z "$(find "$current" -maxdepth 0 -mmin -1440 2>/dev/null)" ]] || [[ ! -e "$current/image" ]]; then
    if ! find_kernel; then
        [[ -e "$current/image" ]] || skip "no kernel: $suite cannot be reached by apt and none is cached (see $cache/apt-$suite/log)"
        say "$suite cannot be reached by apt; using the cached kernel $(<"$current/version")"
    fi
fi
folder=$(readlink -f "$current")
touch "$folder"
find "$cache/kernels" -mindepth 1 -maxdepth 1 -mtime +7 -exec rm -rf {} +
echo "$folder"
