// bpf(2), as far as the loop program needs it. Everything but runs() throws std::system_error and
// says what was refused.
#pragma once

#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/descriptor.h"
#include "frontends/ublk/kernel_interface.h"
#include "frontends/ublk/program_image.h"

namespace us::ublk::bpf {

Descriptor load_types(std::span<const std::byte> btf);

// One value; read-only to programs from freeze() on, which the verifier then counts on.
Descriptor create_constants(std::span<const std::byte> value);
std::vector<std::byte> read_constants(const Descriptor &map, size_t bytes);
// One value of zeros, to be mapped.
Descriptor create_words(size_t bytes);

// `log`: where the verifier says what it does; empty for nothing.
Descriptor load_step(const ProgramImage &image, std::span<const bpf_insn> instructions,
                     const KernelInterface &kernel, const Descriptor &types, std::span<char> log);

// The program as the loop of a ring, for as long as the link lives.
Descriptor attach(const OpsLayout &layout, const Descriptor &types, const Descriptor &program, int ring_fd);

// Time spent in the program and its runs; 0 unless kernel.bpf_stats_enabled says to measure, and where one
// may not ask.
struct Runs {
    uint64_t nanoseconds = 0, times = 0;
};
Runs runs(const Descriptor &program);

} // namespace us::ublk::bpf
