/**
 * `ublk-stack completion SHELL`: a short script that asks `ublk-stack complete` and hands on its answer. Nothing that
 * was typed is ever evaluated, and no package of completion helpers is needed.
 */

import type { ExitStatus, Invocation } from "./common/invocation.js";

const BASH = `# bash completion of ublk-stack. Load it with: source <(ublk-stack completion bash)
_ublk_stack() {
    local current=\${COMP_WORDS[COMP_CWORD]} line pattern offer=none
    [[ $current == "=" ]] && current=
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        :*) offer=\${line#:} ;;
        *) COMPREPLY+=("\${line%%$'\\t'*}") ;;
        esac
    done < <(ublk-stack complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [[ $offer == none ]] && return 0
    compopt -o filenames 2>/dev/null
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <(
        if [[ $offer == any ]]; then
            compgen -f -- "$current"
        else
            for pattern in '*.yaml' '*.yml' '*.json'; do compgen -f -X "!$pattern" -- "$current"; done
            compgen -d -- "$current"
        fi
    )
}
complete -F _ublk_stack ublk-stack
`;

const ZSH = `#compdef ublk-stack
# zsh completion of ublk-stack. Load it with: source <(ublk-stack completion zsh)
_ublk-stack() {
    local line offer=none
    local -a offers
    for line in "\${(@f)$(ublk-stack complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            :*) offer=\${line#:} ;;
            *) offers+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}") ;;
        esac
    done
    local found=1
    if (( $#offers )); then _describe ublk-stack offers && found=0; fi
    if [[ $offer == files ]]; then _files -g '*.(yaml|yml|json)' && found=0; fi
    if [[ $offer == any ]]; then _files && found=0; fi
    return found
}
if [[ \${funcstack[1]} == _ublk-stack ]]; then
    _ublk-stack "$@"
else
    compdef _ublk-stack ublk-stack
fi
`;

const FISH = `# fish completion of ublk-stack. Load it with: ublk-stack completion fish | source
function __ublk_stack_offers
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    for line in (ublk-stack complete -- $before[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_suffix .yaml
            case ':any'
                __fish_complete_path "$current"
            case ':*'
            case '*'
                echo -- $line
        end
    end
end
complete -c ublk-stack -f -a '(__ublk_stack_offers)'
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

export async function run({ args, terminal }: Invocation): Promise<ExitStatus> {
  terminal.out.write(SCRIPTS[args[0] ?? ""] ?? "");
  return 0;
}
