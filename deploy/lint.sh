#!/usr/bin/env bash
# Linter and formatter for every language of the project. `--write` mends what can be mended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

write=0
[[ ${1:-} == --write ]] && write=1

mapfile -t native < <(git ls-files 'native/*.h' 'native/*.c' 'native/*.cc' 'test/*.cc' 'test/*.h')
mapfile -t shell < <(git ls-files '*.sh' '.ci/run')

if ((write)); then
    npx --no-install biome check --write --log-level=error .
    ((${#native[@]} == 0)) || clang-format -i "${native[@]}"
else
    npx --no-install biome check --log-level=error .
    npx --no-install tsc --noEmit -p .
    ((${#native[@]} == 0)) || clang-format --dry-run --Werror "${native[@]}"
fi
shellcheck -x "${shell[@]}"
echo "lint: ${#native[@]} native and ${#shell[@]} shell files and all of TypeScript are clean"
