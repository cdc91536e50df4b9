// A FormatMap in the words that the mapping core reads.
#pragma once

#include <bitset>
#include <mutex>

#include "targets/format_map.h"

namespace us {

struct HandlerContext;

class FormatWords : public FormatMap {
  public:
    // layer: the format's index. What the context speaks of outlives this.
    FormatWords(const HandlerContext &context, uint32_t layer);

    void open(uint32_t shift) override;
    void close() override;
    uint64_t generation() const override { return generation_.load(std::memory_order_acquire); }
    void put(uint64_t generation, uint64_t unit, uint64_t place, us_format_kind kind) override;
    void take_back(uint64_t unit, uint64_t count) override;
    Task<bool> grace(Executor &executor) override;
    Inflight::Older older() const override;
    bool passed(Inflight::Older &older) const override;
    void set_clean(bool clean) override;

  private:
    static constexpr uint32_t PAGE_WORDS = 512; // of a page of memory

    std::atomic_ref<uint64_t> word_of(uint64_t unit) const {
        return std::atomic_ref<uint64_t>(words_.word[first_ + (unit & ((uint64_t{1} << bits_) - 1))]);
    }
    std::atomic_ref<uint32_t> gate() const { return std::atomic_ref<uint32_t>(live_.gate); }
    void forget_all();

    us_live_layer &live_;
    us_words &words_;
    const Inflight &inflight_;
    const uint32_t layer_, first_, bits_;

    // Against one another, those that write. Requests read without it.
    mutable std::mutex mutex_;
    uint32_t closed_ = 1;
    std::atomic<uint64_t> generation_{0};
    std::bitset<US_MAX_WORDS / PAGE_WORDS> written_; // pages that hold a word, by those of this layer
};

} // namespace us
