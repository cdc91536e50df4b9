#!/usr/bin/env bash
# `npm start`: set up, build, apply stacks/demo.yaml, put data on it and read them back with tools that nobody here
# wrote, and leave it running. Running it again changes nothing that is not the demo's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
die() { printf '\nstart: %s\n' "$*" >&2; exit 1; }

readonly stack=demo export=data mib=8 mark='ublk-stack demo data'
stacks() { node dist/cli.js "$@"; }

say "Setting up: system packages and npm packages that are missing"
bash deploy/setup.sh --build
say "Building"
bash deploy/build.sh

say "Applying stacks/demo.yaml: a mirror of a stripe of two files and of memory"
stacks apply stacks/demo.yaml

field() { # KEY: a field of the demo's export, empty when it has none
    stacks status "$stack" -o json |
        node -e '
            const { items: [item] } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
            process.stdout.write(item.status.exports[process.argv[1]][process.argv[2]] ?? "");
        ' "$export" "$1"
}
uri=$(field uri)
device=$(field device)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Eight MiB that say where they belong: every line carries the mark and its number.
seq -f "$mark %012.0f" 1 "$((mib * 1024 * 1024 / 34 + 1))" | head -c "$((mib * 1024 * 1024))" >"$work/written" || true

if [[ -n $device ]]; then
    tool="dd with direct IO"
    put() { dd if="$1" of="$device" bs=1M oflag=direct conv=fsync,notrunc status=none; }
    get() { dd if="$device" of="$1" bs=1M count="$mib" iflag=direct status=none; }
else
    tool="nbdcopy"
    put() { nbdcopy --flush "$1" "$uri"; }
    get() { # the copy of the whole export is sparse: only what was written takes space
        nbdcopy "$uri" "$work/whole"
        head -c "$((mib * 1024 * 1024))" "$work/whole" >"$1"
        rm "$work/whole"
    }
fi

say "Writing ${mib} MiB to ${device:-$uri} and reading them back ($tool)"
get "$work/before"
if head -c 64 "$work/before" | grep -aq "^$mark" || cmp -s -n "$(stat -c %s "$work/before")" "$work/before" /dev/zero; then
    put "$work/written"
    get "$work/read"
    cmp "$work/written" "$work/read" || die "what was read is not what was written"
    note "read back and equal: $(sha256sum <"$work/read" | cut -c1-16)… (sha256)"
else
    note "it holds data that are not the demo's: nothing was written"
fi

say "Where the data are"
note "standard bytes, no format of our own; the first 64 KiB chunk is on d0, the second on d1, all of it in memory too:"
if [[ -f $work/read ]]; then
    cmp -n 65536 "$work/written" stacks/d0.img || die "stacks/d0.img does not begin with the first chunk"
    cmp -n 65536 -i 65536:0 "$work/written" stacks/d1.img || die "stacks/d1.img does not begin with the second chunk"
fi
for image in stacks/d0.img stacks/d1.img; do
    note "$image  $(du -h --apparent-size "$image" | cut -f1) long, $(du -h "$image" | cut -f1) used, ignored by git"
done

say "Status"
stacks status "$stack"

command="npx ublk-stack"
cat <<HELP

It is left running. To go on:
    look at it         $command status $stack      $command explain $stack      $command graph $stack
    what was said      $command logs $stack
    what can be done   $command --help
HELP
if [[ -n $device ]]; then
    echo "    use it             mkfs.ext4 $device && mount $device /mnt"
else
    echo "    use it             nbdinfo '$uri'      nbdcopy IMAGE '$uri'"
fi
cat <<HELP
    change it          edit stacks/demo.yaml, then: $command diff stacks/demo.yaml; $command apply stacks/demo.yaml
    take it down       $command delete $stack      (its files stay: rm stacks/d0.img stacks/d1.img)
HELP
