#!/usr/bin/env bash
# Runs a command in a virtual machine with a stock kernel: see usage below, and `init.sh` for the guest's side.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/../../deploy/private-apt.sh"

usage() {
    cat <<'END'
usage: npm run vm -- [OPTION…] COMMAND [ARGUMENT…]
       npm run vm -- [OPTION…] --script FILE|- [ARGUMENT…]

Runs COMMAND as root in a virtual machine whose root file system is this one, on the newest stock kernel of
Debian's backports, with this environment and working directory. /tmp, /run and /dev are the guest's own.
A boot costs some seconds, so put many commands into one script: --script FILE is `bash FILE`, - is standard input.

  --script FILE      run a bash script (- reads it from standard input)
  --timeout SECONDS  kill the machine after this long (default 600)
  --smp N            processors (default 2)
  --memory SIZE      memory (default 4G); the guest's /tmp is taken from it
  --disk SIZE        a scratch disk, empty and sparse; the first is /dev/vda (repeatable)
  --module NAME      load a module besides ublk_drv, or fail (repeatable); modprobe works inside, too
  --share FOLDER     show this folder, which lies below /tmp, in the guest (repeatable)
  --kernel KIND      newest (default), 6.12 (Debian 13) or 6.1 (Debian 12, which has no ublk)
  --icount           one processor whose clock counts instructions: times are then instruction counts
  --mitigations      with the kernel's mitigations of processor flaws, which cost time at every crossing
  --allow-oops       let an oops, warning or hung task of the kernel pass
  --verbose          show the kernel's console as it runs

Exit status: the command's own. 77: the machine cannot run here, and why. 124: timeout.
125: the kernel complained (the lines are shown), the machine stopped early, or a module is missing. 2: wrong usage.
END
}

misuse() { say "$*"; usage >&2; exit 2; }

timeout=600 smp=2 memory=4G kernel_kind=newest script='' icount='' mitigations=off allow_oops='' verbose=''
disks=() modules=() share=()
while (($# > 0)); do
    case $1 in
        --script | --timeout | --smp | --memory | --disk | --module | --share | --kernel)
            (($# >= 2)) || misuse "$1 needs a value" ;;
    esac
    case $1 in
        --script) script=$2; shift 2; break ;;
        --timeout) timeout=$2; shift 2 ;;
        --smp) smp=$2; shift 2 ;;
        --memory) memory=${2%iB}; shift 2 ;;
        --disk) disks+=("$2"); shift 2 ;;
        --module) modules+=("$2"); shift 2 ;;
        --share) share+=("$(realpath "$2")"); shift 2 ;;
        --kernel) kernel_kind=$2; shift 2 ;;
        --icount) icount=yes; shift ;;
        --mitigations) mitigations=auto; shift ;;
        --allow-oops) allow_oops=yes; shift ;;
        --verbose) verbose=yes; shift ;;
        --help | -h) usage; exit 0 ;;
        --) shift; break ;;
        -*) misuse "unknown option $1" ;;
        *) break ;;
    esac
done
(($# > 0)) || [[ -n $script ]] || misuse "no command"
[[ $script = - ]] || [[ -z $script ]] || [[ -r $script ]] || misuse "cannot read $script"

need qemu-system-x86_64 setpriv unshare

# A plain user serves the root file system as root of a user namespace: the guest can then write what the user can.
own_mounts=(unshare --mount)
((EUID == 0)) || own_mounts=(unshare --user --map-root-user --mount)
"${own_mounts[@]}" true 2>/dev/null || skip "$(id -un) cannot make the namespaces that virtiofsd needs (${own_mounts[*]})"

virtiofsd=$("$here/virtiofsd.sh")
emulator=$("$here/qemu.sh")
threads=${emulator%% *} emulator=${emulator#* }
kernel=$("$here/kernel.sh" "$kernel_kind")
mkdir -p "$cache/run"
cache=$(cd "$cache" && pwd -P)
# What a killed run left.
find "$cache/run" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf {} +
scratch=$(mktemp -d "$cache/run/XXXXXX")
qemu='' server=''

# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    local pid
    for pid in $(jobs -p); do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A child dies with this shell, even when that is killed.
tied() { exec setpriv --pdeathsig KILL "$@"; }

for folder in "$PWD" "$here"; do
    case $folder in
        /run/* | /dev/* | /proc/* | /sys/*) skip "$folder cannot be seen in the guest, which has its own ${folder%"${folder#/*/}"}" ;;
    esac
done

describe_run() {
    local folder
    local -a shown=()
    for folder in "$cache" "$kernel" "${here%/test/vm}" "$PWD" "${share[@]}"; do
        [[ $folder != /tmp/* ]] || shown+=("$folder")
    done
    ((${#shown[@]} == 0)) || printf '%s\0' "${shown[@]}" | sort -zu >"$scratch/share"
    if [[ -n $script ]]; then
        # A copy, so that a script in the host's /tmp or from a pipe is there too.
        cat -- "${script/#-/\/dev\/stdin}" >"$scratch/script"
        set -- bash "$scratch/script" "$@"
    fi
    printf '%s\0' "$@" >"$scratch/command"
    env -u TMPDIR -u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS -u OLDPWD \
        PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        UBLK_STACK_VM="$(<"$kernel/version")" UBLK_STACK_STATE_DIR=/run/vm/state UBLK_STACK_RUN_DIR=/run/ublk-stack \
        MDADM_NO_UDEV=1 DM_DISABLE_UDEV=1 env -0 >"$scratch/environment"
    printf '%s' "$PWD" >"$scratch/folder"
    printf '%s' "$kernel" >"$scratch/kernel"
    ((${#disks[@]} == 0)) || modules=(virtio_blk "${modules[@]}")
    ((${#modules[@]} == 0)) || printf '%s\0' "${modules[@]}" >"$scratch/modules"
    touch "$scratch"/{share,modules,stdout,stderr,note,console}
}

serve_root() {
    local -a options
    # It holds a descriptor for every file that the guest knows: listing a folder must not make all in it known.
    local files most
    most=$(</proc/sys/fs/nr_open)
    if (ulimit -n "$most") 2>/dev/null; then files=$most; else files=$(ulimit -Hn); fi
    if [[ $("$virtiofsd" --help 2>&1) == *--shared-dir* ]]; then
        options=(--shared-dir=/ --sandbox=chroot --cache=always --no-announce-submounts --no-readdirplus --log-level=error)
    else
        options=(-o source=/ -o sandbox=chroot -o cache=always -o no_readdirplus -o log_level=err)
    fi
    # Its pid file would go to /run, which the guest does not see anyway.
    # shellcheck disable=SC2016
    tied "${own_mounts[@]}" sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh \
        "$virtiofsd" --socket-path=root.sock --rlimit-nofile="$files" "${options[@]}" >virtiofsd.log 2>&1 </dev/null
}

kernel_line() {
    local line
    line="root=rootfs rootfstype=virtiofs rw init=\"$here/init.sh\" hostname=$(uname -n) console=ttyS0"
    # Level 5 holds warnings and the traces that follow them, and little of a normal boot.
    line+=" loglevel=$((${verbose:+2} + 5)) printk.devkmsg=on panic=-1 mitigations=$mitigations"
    line+=" tsc=reliable no_timer_check cgroup_no_v1=all"
    [[ -n $allow_oops ]] || line+=" oops=panic"
    if [[ -n $icount ]]; then
        # While the guest waits for the host its clock jumps from timer to timer: no watchdog means anything then.
        line+=" nowatchdog rcupdate.rcu_cpu_stall_suppress=1 sysctl.kernel.hung_task_timeout_secs=0"
    else
        # Emulation on a busy host may stand still for a while without anything being wrong in the guest.
        line+=" watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=60"
    fi
    echo "$line -- \"$scratch\""
}

machine() {
    local -a options=(-accel "tcg,thread=$threads" -cpu max -smp "$smp")
    local i=0 size
    [[ -z $icount ]] || options=(-accel tcg -icount "shift=0,sleep=off" -cpu "max,-erms,-fsrm" -smp 1)
    for size in "${disks[@]}"; do
        truncate -s "${size%iB}" "disk$i.raw"
        options+=(-drive "if=none,id=disk$i,file=disk$i.raw,format=raw,cache=unsafe,discard=unmap"
            -device "virtio-blk-pci,drive=disk$i")
        i=$((i + 1))
    done
    [[ ! -e "$kernel/initrd" ]] || options+=(-initrd "$kernel/initrd")
    tied "$emulator" -no-user-config -nodefaults -display none -nic none -no-reboot -machine pc \
        -m "$memory" -object "memory-backend-memfd,id=memory,size=$memory,share=on" -numa "node,memdev=memory" \
        -chardev "socket,id=root,path=root.sock" -device "vhost-user-fs-pci,chardev=root,tag=rootfs" \
        -serial file:console -kernel "$kernel/image" -append "$(kernel_line)" "${options[@]}" \
        >qemu.log 2>&1 </dev/null
}

# Mistakes of the kernel that are known to be its own, and to do no harm here:
#   set_task_cpu   The load balancer takes a task that has just disabled its migration, as it does to run a BPF program.
#                  Seen once in some hundred boots of Linux 7.3, from the timer's softirq; no program here minds its CPU.
known='WARNING: kernel/sched/core\.c:[0-9]+ at set_task_cpu\+'

# What the kernel prints when it has found a mistake of its own, or has been left in a state that it cannot mend. False
# when there is nothing of it.
complaints() {
    local at='^(\[ *[0-9]+\.[0-9]+\](\[ *[TC][0-9]+\])? )?' words='BUG[: ]|WARNING[: ]|Oops[: ]|Kernel panic'
    words+='|general protection fault|traps: PANIC|(watchdog|rcu): (BUG|INFO)|INFO: (task|rcu|possible|lockdep)'
    words+='|UBSAN|KASAN|KFENCE|refcount_t:|list_(add|del) corruption'
    local -a lines
    mapfile -t lines < <(grep -anE "$at($words)" console | grep -avE "$known" | cut -d: -f1)
    ((${#lines[@]} > 0)) || return 1
    awk -v lines="${lines[*]}" 'BEGIN { n = split(lines, at, " ") }
        { for (i = 1; i <= n; i++) if (NR >= at[i] - 3 && NR <= at[i] + 25) { print; break } }' console | tr -d '\r'
}

describe_run "$@"
cd "$scratch"
# first: the process that ended first, of the machine and its clock.
boot() {
    local i timer
    local -a followers
    serve_root &
    server=$!
    for ((i = 0; i < 500; i++)); do
        [[ ! -S root.sock ]] || break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.02
    done
    if [[ ! -S root.sock ]]; then
        sed 's/^/vm: virtiofsd: /' virtiofsd.log >&2
        skip "virtiofsd does not start here"
    fi
    machine &
    qemu=$!
    tied sleep "$timeout" &
    timer=$!
    tied tail -n +1 -s 0.1 --pid="$qemu" -f stdout &
    followers=($!)
    tied tail -n +1 -s 0.1 --pid="$qemu" -f stderr >&2 &
    followers+=($!)
    if [[ -n $verbose ]]; then
        tied tail -n +1 -s 0.1 --pid="$qemu" -f console >&2 &
        followers+=($!)
    fi

    first=''
    wait -n -p first "$qemu" "$timer" || true
    [[ $first = "$qemu" ]] || kill -KILL "$qemu"
    wait "$qemu" "${followers[@]}" 2>/dev/null || true
}

# A processor that runs into an instruction while another one replaces it meets a breakpoint that the kernel does not know
# any more. Seen under emulation on a busy host, as the kernel patches itself before its init runs, and nothing of ours with it.
fell_over_itself() { [[ ! -e started ]] && grep -qa 'Oops: int3' console; }

for attempt in 1 2 3; do
    boot
    if ((attempt == 3)) || ! fell_over_itself; then break; fi
    say "the kernel fell over its own patching before its init ran: once more"
    wait "$server" 2>/dev/null || true
    rm -f root.sock
    : >console
done

sed 's/^/vm: /' note >&2
grep -aE "$known" console | tr -d '\r' | sed 's/^/vm: a mistake that is known to be the kernel'"'"'s own: /' >&2 || true
if [[ -z $allow_oops ]] && found=$(complaints); then
    say "the kernel complained:"
    echo "$found" >&2
    [[ $first = "$qemu" ]] || exit 124
    exit 125
fi
if [[ $first != "$qemu" ]]; then
    say "timeout: killed after $timeout s"
    exit 124
fi
if [[ ! -s status ]]; then
    say "the machine stopped before the command ended; its last words:"
    tail -n 20 virtiofsd.log qemu.log console >&2
    exit 125
fi
exit "$(<status)"
