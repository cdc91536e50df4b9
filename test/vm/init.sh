#!/bin/bash
# Process 1 of the virtual machine. Its root is the host's root, so all that it sets up is on file systems of the
# guest's own memory; the one folder of the host that it writes to is the run's scratch folder, its last argument:
#
#   in    kernel   folder of the kernel package       command, environment, modules, share   lists, separated by NUL
#         folder   where to run the command
#   out   started, stdout, stderr, note, and last of all status
set -euo pipefail
trap 'echo "init.sh: line $LINENO failed: $BASH_COMMAND"' ERR
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Served by a plain user, everything seems to be nobody's, and a set-uid mount would run as nobody. Started through
# the loader, the bit does not count; afterwards it counts nowhere.
[[ -O /bin/mount ]] || /lib64/ld-linux-x86-64.so.2 /bin/mount -n -o remount,bind,nosuid /
mount -t proc proc /proc
# A kernel without one of these is no reason to stop: what needs it will say so.
mount --all --fstab "${0%/*}/fstab" || true
mkdir -p /run/lock /run/vm/{kernel,scratch,share,state} /run/ublk-stack
mkfifo /run/vm/stdout /run/vm/stderr
# The last argument: before it come words of the kernel's command line that the kernel did not know.
mount --bind "${!#}" /run/vm/scratch
cd /run/vm/scratch
: >started

mount --bind "$(<kernel)" /run/vm/kernel
folder=$(<folder)
mapfile -d '' -t command <./command
mapfile -d '' -t environment <environment
mapfile -d '' -t share <share
mapfile -d '' -t modules <modules

# Modules come from the package, not from the host. The host need not have /lib/modules to mount on, so
# modprobe learns the way through its environment, and the kernel's own requests through a wrapper.
if [[ -d /usr/lib/modules ]]; then mount --bind /run/vm/kernel/lib/modules /usr/lib/modules; fi
export MODPROBE_OPTIONS="-d /run/vm/kernel"
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/vm/kernel "$@"\n' >/run/vm/modprobe

# From here to `wait` side by side: starting a process takes some 50 ms under emulation.
(
    chmod 755 /run/vm/modprobe
    echo /run/vm/modprobe >/proc/sys/kernel/modprobe
    modprobe ublk_drv 2>/dev/null || echo "this kernel has no ublk_drv" >>note
    # The folder to mount it on comes with the module.
    modprobe -q configfs || true
    mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
    ((${#modules[@]} == 0)) || modprobe -a "${modules[@]}" 2>>note
) &
loader=$!
(
    ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null || echo "no loopback: iproute2 is missing" >>note
    ln -sfn /proc/self/fd /dev/fd
    ln -sf /proc/self/fd/0 /dev/stdin
    ln -sf /proc/self/fd/1 /dev/stdout
    ln -sf /proc/self/fd/2 /dev/stderr
) &
# /tmp is the guest's own, but a checkout may lie below the host's: those folders are carried over.
for i in "${!share[@]}"; do
    mkdir "/run/vm/share/$i"
    mount --bind "${share[i]}" "/run/vm/share/$i"
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
for i in "${!share[@]}"; do
    mkdir -p "${share[i]}"
    mount --move "/run/vm/share/$i" "${share[i]}"
done
status=0
wait "$loader" || status=125
wait

# The command writes to pipes, since reopening /dev/stderr would truncate a file.
cat /run/vm/stdout >>stdout &
copiers=($!)
cat /run/vm/stderr >>stderr &
copiers+=($!)
cd "$folder"
((status)) || setsid --wait env -i "${environment[@]}" "MODPROBE_OPTIONS=$MODPROBE_OPTIONS" "${command[@]}" \
    >/run/vm/stdout 2>/run/vm/stderr </dev/null || status=$?
# A daemon that the command leaves behind may hold the pipes open: not for ever.
(sleep 2 && kill "${copiers[@]}" 2>/dev/null) &
wait "${copiers[@]}" 2>/dev/null || true

cd /run/vm/scratch
# This file system alone: one on a device whose server is dead would never finish.
sync -f .
echo "$status" >status
# Restart, which QEMU takes as the end: unlike a power off it waits for no driver and runs no notifier of md.
echo 1 >/proc/sys/kernel/sysrq
echo b >/proc/sysrq-trigger
sleep infinity
