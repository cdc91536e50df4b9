// What the running kernel calls the things that the loop program needs: numbers of its types and functions,
// and where the members of its struct lie. Found in the kernel's type information, once in a process.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace us::ublk {

// Where a map of the struct keeps what.
struct OpsLayout {
    uint32_t value_type = 0; // what the map holds: struct bpf_struct_ops_io_uring_bpf_ops
    uint32_t value_bytes = 0;
    uint32_t step_offset = 0, ring_fd_offset = 0;
};

struct KernelInterface {
    // Throws std::runtime_error: what the kernel lacks, in plain words. /sys/kernel/btf has to be there when
    // it is called for the first time.
    static const KernelInterface &get();

    OpsLayout layout;
    uint32_t ops_type = 0;   // struct io_uring_bpf_ops
    uint32_t step_index = 0; // of its member loop_step
    std::map<std::string, uint32_t> functions;
};

} // namespace us::ublk
