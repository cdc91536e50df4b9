#!/usr/bin/env bash
# `npm run build`: the native data plane (node-gyp, make) and TypeScript. Builds what has changed; quiet when all is well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'build: %s\n' "$*"; }

# One build at a time in one checkout.
exec 9<"deploy/build.sh"
flock 9

# Runs a command whose output, kept in native/build/NAME.log, matters only when it fails.
quietly() {
    local log=$PWD/native/build/$1.log
    shift
    mkdir -p native/build
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        return 1
    }
}

# What decides the makefiles: the recipe, the lists of sources, the compiler and this Node with its headers.
native_recipe() {
    cat native/binding.gyp native/sources.txt
    ls native/addon
    node --version
    c++ --version | head -n 1
    echo "$nodedir"
}

build_native() {
    local nodedir recipe todo
    nodedir=$(bash deploy/node-headers.sh)
    recipe=$(native_recipe | sha256sum)
    if [[ ! -e native/build/Makefile || "$(cat native/build/recipe 2>/dev/null)" != "$recipe" ]]; then
        say "configuring the native data plane"
        quietly configure node_modules/.bin/node-gyp -C native configure --nodedir="$nodedir"
        echo "$recipe" >native/build/recipe
    fi
    local -a make=(make -C native/build BUILDTYPE=Release -j2)
    todo=$("${make[@]}" -n 2>/dev/null | grep -E '^ *(echo|printf) .* (CC|CXX)\(target\) ' | grep -vc program_image) || true
    if ((todo > 0)); then say "compiling $todo files of the native data plane"; fi
    quietly make "${make[@]}"
}

# What a source that is gone has left in dist would still be loaded.
prune_dist() {
    local made source
    [[ -d dist ]] || return 0
    while IFS= read -r made; do
        source=src/${made#dist/}
        [[ -e ${source%.js}.ts ]] || rm -f "$made" "$made.map" "${made%.js}.d.ts"
    done < <(find dist -name '*.js')
}

build_typescript() {
    prune_dist
    if [[ -e dist/cli.js && -e dist/built && -z $(find src tsconfig.json package-lock.json -newer dist/built -print -quit) ]]; then
        return
    fi
    say "compiling TypeScript"
    mkdir -p dist
    # Before the compiler reads: what is edited while it runs is newer, and compiled the next time.
    touch dist/building
    node_modules/.bin/tsc -p .
    chmod +x dist/cli.js
    # The name of this build, for src/reconcile/build-id.ts.
    find dist -name '*.js' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-12 >dist/named
    touch -r dist/building dist/named
    rm dist/building
    mv dist/named dist/built
}

build_native
build_typescript
