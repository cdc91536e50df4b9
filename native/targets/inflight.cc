#include "targets/inflight.h"

#include <algorithm>

namespace us {

Inflight::Older Inflight::busy(Of of) const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    Older older;
    for (uint32_t i = 0; i < nr_; i++) {
        uint64_t sequence = slots_[i].sequence.load(std::memory_order_acquire);
        // A slot that is used anew meanwhile is one of after this call.
        bool read = std::atomic_ref<uint32_t>(slots_[i].op).load(std::memory_order_relaxed) == US_OP_READ;
        if (sequence != 0 && (of == Of::all || !read)) older.emplace_back(i, sequence);
    }
    return older;
}

bool Inflight::passed(Older &older, uint32_t layer) const {
    std::erase_if(older, [&](const auto &entry) {
        auto [slot, sequence] = entry;
        if (slots_[slot].sequence.load(std::memory_order_acquire) != sequence) return true;
        if (sequence & SLOT_IN_KERNEL) return false;
        return (own_[slot].inside.load(std::memory_order_acquire) >> layer & 1) == 0;
    });
    return older.empty();
}

uint64_t Inflight::published() const {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < nr_; i++)
        sum += own_[i].times.load(std::memory_order_relaxed) - own_[i].reads.load(std::memory_order_relaxed) +
               slots_[i].kernel_times.load(std::memory_order_relaxed) -
               slots_[i].kernel_reads.load(std::memory_order_relaxed);
    return sum;
}

} // namespace us
