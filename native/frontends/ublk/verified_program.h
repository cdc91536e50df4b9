// The loop program of one queue (bpf/loop.bpf.c), specialised for a table and verified: all of it that takes
// time to make, and nothing of the process that made it. The next server of the device may use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bpf/loop.h"
#include "engine/descriptor.h"
#include "engine/shelf.h"
#include "frontends/ublk/kernel_interface.h"

namespace us::ublk {

// The kernel does not take the program: the queue is served by the native engine.
struct ProgramRefused : std::runtime_error {
    ProgramRefused(const std::string &reason, std::string log)
        : std::runtime_error(reason), log(std::move(log)) {}
    std::string log; // the verifier's last words; empty when it was not asked
};

// What the program is specialised with: bytes that the verifier counts on. `leaves` has US_MAX_LAYERS
// entries.
std::vector<std::byte> program_constants(const us_loop_config &config, const us_loop_leaf *leaves,
                                         const us_table &table);

// What the kernel lacks for any program of this kind, in plain words; empty when it describes all of it.
std::string missing_in_kernel();

class VerifiedProgram {
  public:
    // Needs CAP_BPF and CAP_PERFMON, and /sys/kernel/btf. Any thread, several at once. Throws ProgramRefused.
    static VerifiedProgram load(const std::vector<std::byte> &constants);

    bool has(const std::vector<std::byte> &constants) const;

    // To and from a shelf; nothing when the item is another's.
    struct Kept;
    void put(Shelf &shelf, uint32_t queue) const;
    static std::optional<Kept> from(Shelf::Item item);

    const OpsLayout &layout() const { return layout_; }
    const Descriptor &types() const { return types_; }
    const Descriptor &words() const { return words_; }
    const Descriptor &program() const { return program_; }

  private:
    OpsLayout layout_;
    Descriptor types_, constants_, words_, program_;
};

struct VerifiedProgram::Kept {
    uint32_t queue;
    VerifiedProgram program;
};

} // namespace us::ublk
