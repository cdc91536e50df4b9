// The parts of a cluster that an extended entry allocates one by one: bit 0 is the first. Without extended
// entries the whole cluster is the one part that there is.
#pragma once

#include <bit>

#include "targets/qcow2/format.h"
#include "targets/qcow2/header.h"

namespace us::qcow2 {

class Subclusters {
  public:
    explicit Subclusters(const us_qcow2_shape &shape)
        : count_(shape.extended ? US_QCOW2_SUBCLUSTERS : 1), bytes_(us_qcow2_cluster_bytes(&shape) / count_) {
    }

    uint64_t bytes() const { return bytes_; } // of each
    uint32_t all() const { return up_to(count_); }

    // Those that [start, end) of the cluster touches, and those that lie in it as a whole.
    uint32_t touched(uint64_t start, uint64_t end) const {
        return up_to((end + bytes_ - 1) / bytes_) & ~up_to(start / bytes_);
    }
    uint32_t inside(uint64_t start, uint64_t end) const {
        return up_to(end / bytes_) & ~up_to((start + bytes_ - 1) / bytes_);
    }
    bool has(uint32_t parts, uint64_t within) const { return parts >> within / bytes_ & 1; }

    // The first run of neighbours among them, which are taken away; [start, end) of the cluster.
    Range take_run(uint32_t &parts) const {
        uint32_t first = static_cast<uint32_t>(std::countr_zero(parts));
        uint32_t count = static_cast<uint32_t>(std::countr_one(parts >> first));
        parts &= ~(up_to(first + count) & ~up_to(first));
        return {first * bytes_, count * bytes_};
    }

  private:
    static uint32_t up_to(uint64_t end) { return end >= 32 ? UINT32_MAX : (uint32_t{1} << end) - 1; }

    uint32_t count_;
    uint64_t bytes_;
};

// Two words are stored one after the other. Which one has to be first, so that whoever finds the one of
// before and the other of after reads what was there before, or what shall be? The new place has all of what
// the old bits say; without a place no bit may say that there is one; and of compressed clusters nobody reads
// the bits.
inline bool second_word_first(uint64_t before, uint64_t after) {
    bool placed = after & (US_QCOW2_HOST_MASK | US_QCOW2_COPIED);
    return !placed || before & US_QCOW2_COMPRESSED;
}

} // namespace us::qcow2
