// The compiled loop program (bpf/loop.bpf.c) as the kernel takes it: the step and the functions that it calls
// in one run of instructions. Left open are the numbers that a kernel and a loading give: descriptors of maps
// and numbers of the kernel's functions.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace us::ublk {

struct ProgramImage {
    // That of this build. Throws std::logic_error when its compiler made what this cannot read.
    static const ProgramImage &get();
    explicit ProgramImage(std::span<const std::byte> object);

    enum Section { CONSTANTS, WORDS };
    struct Variable {
        std::string name;
        Section section;
        size_t offset, bytes;
    };
    // Throws std::logic_error when there is none, or one of another size.
    size_t offset_of(Section section, const std::string &name, size_t bytes) const;

    struct MapUse {
        size_t instruction;
        Section section;
    };
    struct KernelCall {
        size_t instruction;
        std::string function;
    };

    std::vector<bpf_insn> instructions;
    std::vector<MapUse> map_uses;
    std::vector<KernelCall> kernel_calls;
    std::vector<bpf_func_info> functions;
    std::vector<bpf_line_info> lines;
    std::vector<std::byte> types; // BTF
    std::vector<std::byte> constants;
    std::vector<Variable> variables;
    size_t words_bytes = 0;
    std::string license;
};

} // namespace us::ublk
