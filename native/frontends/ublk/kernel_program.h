// A verified program as the loop of a ring, and the words that it shares with the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bpf/loop.h"
#include "frontends/ublk/bpf_calls.h"
#include "frontends/ublk/verified_program.h"

namespace us::ublk {

class KernelProgram {
  public:
    // The program is used by no other; the ring runs not yet. Needs the rights that loading does; its end
    // detaches. Throws std::system_error.
    KernelProgram(int ring_fd, VerifiedProgram program);

    // The program's own words, as they are now: zeros at first.
    us_loop_tag &tag(uint32_t index) const { return tags_[index]; }
    us_loop_counters &counters() const { return *counters_; }

    // Since it was attached.
    bpf::Runs runs() const;
    const VerifiedProgram &verified() const { return program_; }

  private:
    void map_words();

    VerifiedProgram program_;
    bpf::Runs before_;
    struct Unmap {
        size_t bytes;
        void operator()(char *at) const;
    };
    std::unique_ptr<char, Unmap> words_; // the program's .bss, mapped
    us_loop_tag *tags_ = nullptr;
    us_loop_counters *counters_ = nullptr;
    Descriptor link_;
};

} // namespace us::ublk
