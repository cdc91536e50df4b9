#!/usr/bin/env bash
# Prints the folder to give to `node-gyp --nodedir`: one with include/node, that of the running Node where it has
# one, else of a package. Never from the network. Exit 1: there are none.
set -euo pipefail

node=$(command -v node) || { echo "node-headers: node is not on the PATH" >&2; exit 1; }
own=$("$node" -p 'require("node:path").resolve(process.execPath, "../..")')
wanted=$("$node" -p 'process.versions.node.split(".")[0]')

major() { sed -nE 's/^#define NODE_MAJOR_VERSION ([0-9]+).*/\1/p' "$1/include/node/node_version.h" 2>/dev/null; }

# The addon uses Node-API alone, which later Nodes keep: headers of an older Node serve, those of a newer one may not.
for folder in "${npm_config_nodedir:-}" "$own" /usr /usr/local; do
    [[ -n $folder && -e $folder/include/node/node_api.h && -e $folder/include/node/common.gypi ]] || continue
    found=$(major "$folder")
    if ((${found:-99} <= wanted)); then
        echo "$folder"
        exit
    fi
done
echo "node-headers: no headers for Node $wanted (looked in $own and /usr; Debian's package is libnode-dev)" >&2
exit 1
