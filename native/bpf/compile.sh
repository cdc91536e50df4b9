#!/usr/bin/env bash
# compile.sh NAME OUT.h [CLANG-ARGUMENT…]: compiles NAME.bpf.c for the kernel's BPF, and writes the object as an array
# of bytes, NAME_object, so that a program carries it within itself.
set -euo pipefail
name=$1 out=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
libbpf=$(bash "$here/../../deploy/libbpf.sh")
mkdir -p "$(dirname "$out")"

# The helpers' header marks arguments that a program of ours does not use.
clang -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter \
    -I "$here/.." -I "$libbpf/include" "$@" -c "$here/$name.bpf.c" -o "${out%.h}.o"
{
    echo "// Made of $name.bpf.c by compile.sh."
    echo "alignas(8) static const unsigned char ${name}_object[] = {"
    od -An -v -tu1 "${out%.h}.o" | sed 's/[0-9][0-9]*/&,/g'
    echo '};'
} >"$out.new"
mv "$out.new" "$out"
