#!/usr/bin/env bash
# Puts this checkout's ublk-stack on the PATH, with its systemd units and the completions of three shells.
# Root installs for the machine, a plain user for himself. The checkout stays where it is: nothing is copied from dist/.
#
#   npm run install-system [-- --uninstall]
#
# DESTDIR stages the files below another root and leaves systemd alone: for packages and tests.
set -euo pipefail

usage() { echo "usage: install-system.sh [--uninstall]" >&2; exit 2; }
say() { echo "install-system: $*"; }

uninstall=0
case ${1:-} in
'') ;;
--uninstall) uninstall=1 ;;
*) usage ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cli=$root/dist/cli.js
node=$(command -v node) || { echo "install-system: node is not on the PATH" >&2; exit 1; }

if ((EUID == 0)); then
    bin=/usr/local/bin
    share=/usr/local/share
    units=/etc/systemd/system
    zsh=$share/zsh/site-functions
    scope=()
else
    bin=$HOME/.local/bin
    share=${XDG_DATA_HOME:-$HOME/.local/share}
    units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
    zsh=$share/zsh/site-functions
    scope=(--user)
fi
dest=${DESTDIR:-}
bash_completion=$share/bash-completion/completions/ublk-stack
zsh_completion=$zsh/_ublk-stack
fish_completion=$share/fish/vendor_completions.d/ublk-stack.fish

# Only what is there to be talked to: a container has no systemd, a staged install must not touch the host's.
systemd_runs() { [[ -z $dest ]] && systemctl "${scope[@]}" show-environment >/dev/null 2>&1; }

# systemd splits at blanks and expands % and $: quote the two paths of ExecStart.
unit_word() {
    local word=${1//\\/\\\\}
    word=${word//\"/\\\"}
    word=${word//%/%%}
    printf '"%s"' "${word//\$/\$\$}"
}

shell_word() { printf "'%s'" "${1//\'/\'\\\'\'}"; }

if ((uninstall)); then
    if systemd_runs; then
        systemctl "${scope[@]}" disable --now ublk-stack.target ublk-stack-controller.service 2>/dev/null || true
    fi
    for unit in "$root"/deploy/systemd/*; do rm -f "$dest$units/${unit##*/}"; done
    rm -f "$dest$bin/ublk-stack" "$dest$bash_completion" "$dest$zsh_completion" "$dest$fish_completion"
    if systemd_runs; then systemctl "${scope[@]}" daemon-reload; fi
    say "removed; stacks that run go on running (ublk-stack delete --all ends them)"
    exit 0
fi

[[ -f $cli ]] || { echo "install-system: $cli is not there; run: npm run build" >&2; exit 1; }

mkdir -p "$dest$bin" "$dest$units" "${dest}${bash_completion%/*}" "$dest$zsh" "${dest}${fish_completion%/*}"

# A wrapper with both paths written out: PATH of a login shell, of sudo and of systemd differ.
cat >"$dest$bin/ublk-stack" <<WRAPPER
#!/bin/sh
exec $(shell_word "$node") $(shell_word "$cli") "\$@"
WRAPPER
chmod 0755 "$dest$bin/ublk-stack"
say "command: $dest$bin/ublk-stack"

command="$(unit_word "$node") $(unit_word "$cli")"
for unit in "$root"/deploy/systemd/*; do
    text=$(<"$unit")
    printf '%s\n' "${text//@COMMAND@/"$command"}" >"$dest$units/${unit##*/}"
done
say "units: $dest$units/ublk-stack*"

"$node" "$cli" completion bash >"$dest$bash_completion"
"$node" "$cli" completion zsh >"$dest$zsh_completion"
"$node" "$cli" completion fish >"$dest$fish_completion"
say "completions for bash, zsh and fish below $dest$share"

if systemd_runs; then
    systemctl "${scope[@]}" daemon-reload
    systemctl "${scope[@]}" enable --now ublk-stack-controller.service ublk-stack.target
    say "systemd runs the controller now and at every boot; stacks that were applied come back"
else
    say "systemd was left alone; with it: systemctl${scope[*]:+ ${scope[*]}} enable --now ublk-stack-controller.service ublk-stack.target"
fi
case :$PATH: in
*":$bin:"*) ;;
*) say "note: $bin is not on the PATH of this shell" ;;
esac
