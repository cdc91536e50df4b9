#!/bin/bash
# Process 1 of the virtual machine. Its root is the host's root, so all that it sets up is on file systems of the
# guest's own memory; the one folder of the host that it writes to is the run's scratch folder, its last argument:
#
#   in    command, environment   separated by NUL     folder   where to run     share   folders to show under /tmp
#         modules                names to load        kernel   folder of the kernel package
#   out   stdout, stderr, note, and last of all status
set -euo pipefail
trap 'echo "init.sh: line $LINENO failed: $BASH_COMMAND"' ERR
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t proc proc /proc
# A kernel without one of these is no reason to stop: what needs it will say so.
mount --all --fstab "${0%/*}/fstab" || true
mkdir -p /run/lock /run/vm/{scratch,share,state} /run/ublk-stack
mkfifo /run/vm/stdout /run/vm/stderr
# The last argument: before it come words of the kernel's command line that the kernel did not know.
mount --bind "${!#}" /run/vm/scratch
cd /run/vm/scratch

kernel=$(<kernel)
folder=$(<folder)
mapfile -d '' -t command <./command
mapfile -d '' -t environment <environment
mapfile -d '' -t share <share
mapfile -t modules <modules

# Modules come from the package, not from the host. The host need not have /lib/modules to mount on, so
# modprobe learns the way through its environment, and the kernel's own requests through a wrapper.
if [[ -d /usr/lib/modules ]]; then mount --bind "$kernel/lib/modules" /usr/lib/modules; fi
export MODPROBE_OPTIONS="-d $kernel"
printf '#!/bin/sh\nexec /sbin/modprobe -d %q "$@"\n' "$kernel" >/run/vm/modprobe

# From here to `wait` side by side: starting a process takes some 50 ms under emulation.
(
    chmod 755 /run/vm/modprobe
    echo /run/vm/modprobe >/proc/sys/kernel/modprobe
    for module in "${modules[@]}"; do
        modprobe "$module" 2>>note || echo "this kernel cannot load the module $module" >>note
    done
    # The folder to mount it on comes with the module.
    modprobe -q configfs || true
    mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
) &
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
wait

# The command writes to pipes, since reopening /dev/stderr would truncate a file.
cat /run/vm/stdout >>stdout &
copiers=($!)
cat /run/vm/stderr >>stderr &
copiers+=($!)
cd "$folder"
status=0
setsid --wait env -i "${environment[@]}" "MODPROBE_OPTIONS=$MODPROBE_OPTIONS" "${command[@]}" \
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
