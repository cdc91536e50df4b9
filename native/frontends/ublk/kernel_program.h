// The loop program of one queue (bpf/loop.bpf.c), specialised for a table, loaded and attached to a ring.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "bpf/loop.h"

struct bpf_link;
struct bpf_object;

namespace us::ublk {

// The kernel does not take the program: the queue is served by the native engine.
struct ProgramRefused : std::runtime_error {
    ProgramRefused(const std::string &reason, std::string log)
        : std::runtime_error(reason), log(std::move(log)) {}
    std::string log; // the verifier's last words; empty when it was not asked
};

class KernelProgram {
  public:
    // What the kernel lacks for any program of this kind, in plain words; empty when it describes all of it.
    static std::string missing_in_kernel();

    // Needs CAP_BPF and CAP_PERFMON, /sys/kernel/btf and a ring that nobody runs yet; afterwards nothing of
    // these. `leaves` has US_MAX_LAYERS entries. Throws ProgramRefused.
    KernelProgram(int ring_fd, const us_loop_config &config, const us_loop_leaf *leaves,
                  const us_table &table);
    ~KernelProgram(); // detaches
    KernelProgram(const KernelProgram &) = delete;
    KernelProgram &operator=(const KernelProgram &) = delete;

    // The program's own words, as they are now.
    us_loop_tag &tag(uint32_t index) const { return tags_[index]; }
    us_loop_counters &counters() const { return *counters_; }

    // Time spent in the program and its runs; 0 unless kernel.bpf_stats_enabled says to measure.
    struct Runs {
        uint64_t nanoseconds = 0, times = 0;
    };
    Runs runs() const;

  private:
    void map_words();

    bpf_object *object_ = nullptr;
    bpf_link *link_ = nullptr;
    char *words_ = nullptr; // the program's .bss, mapped
    size_t words_bytes_ = 0;
    us_loop_tag *tags_ = nullptr;
    us_loop_counters *counters_ = nullptr;
    int program_fd_ = -1;
};

} // namespace us::ublk
