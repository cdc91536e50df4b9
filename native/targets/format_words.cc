#include "targets/format_words.h"

#include <algorithm>

#include "targets/grace.h"
#include "targets/handler.h"

namespace us {

FormatWords::FormatWords(const HandlerContext &context, uint32_t layer)
    : live_(*context.live), words_(*context.words), inflight_(*context.inflight), layer_(layer),
      first_(static_cast<uint32_t>(context.layer.param[US_FORMAT_PLACE])),
      bits_(static_cast<uint32_t>(context.layer.param[US_FORMAT_PLACE] >> 32)) {}

void FormatWords::open(uint32_t shift) {
    std::lock_guard lock(mutex_);
    if (--closed_ != 0) return;
    generation_++; // what was looked up while it was closed may be older than what has changed meanwhile
    std::atomic_ref<uint64_t>(live_.window_start).store(shift, std::memory_order_release);
    gate().fetch_or(US_LIVE_MAP_OPEN);
}

void FormatWords::close() {
    std::lock_guard lock(mutex_);
    if (closed_++ != 0) return;
    generation_++;
    gate().fetch_and(~US_LIVE_MAP_OPEN);
    forget_all();
}

// Pages that were never written take no memory, and are left so.
void FormatWords::forget_all() {
    uint64_t nr = uint64_t{1} << bits_;
    for (uint64_t page = 0; page * PAGE_WORDS < nr; page++) {
        if (!written_[page]) continue;
        for (uint64_t i = page * PAGE_WORDS; i < std::min(nr, (page + 1) * PAGE_WORDS); i++)
            word_of(i).store(0, std::memory_order_relaxed);
    }
    written_.reset();
}

void FormatWords::put(uint64_t generation, uint64_t unit, uint64_t place, us_format_kind kind) {
    uint64_t tag = unit >> bits_;
    if (tag >> US_FORMAT_TAG_BITS != 0 || place >> US_FORMAT_UNIT_BITS != 0) return;
    std::lock_guard lock(mutex_);
    if (closed_ != 0 || generation != generation_) return;
    written_[(unit & ((uint64_t{1} << bits_) - 1)) / PAGE_WORDS] = true;
    word_of(unit).store(us_format_word(tag, place, kind), std::memory_order_release);
}

void FormatWords::take_back(uint64_t unit, uint64_t count) {
    std::lock_guard lock(mutex_);
    if (closed_ != 0) return;
    for (uint64_t i = 0; i < count; i++) {
        auto word = word_of(unit + i);
        if (word.load(std::memory_order_relaxed) >> US_FORMAT_TAG_SHIFT == (unit + i) >> bits_) word.store(0);
    }
}

Task<bool> FormatWords::grace(Executor &executor) {
    bool passed = co_await us::grace(executor, inflight_, layer_, Inflight::Of::all);
    co_return passed;
}

Inflight::Older FormatWords::older() const {
    return inflight_.busy(Inflight::Of::all);
}

bool FormatWords::passed(Inflight::Older &older) const {
    return inflight_.passed(older, layer_);
}

void FormatWords::set_clean(bool clean) {
    if (clean)
        gate().fetch_or(US_LIVE_TABLES_CLEAN);
    else if (gate().load(std::memory_order_relaxed) & US_LIVE_TABLES_CLEAN)
        gate().fetch_and(~US_LIVE_TABLES_CLEAN);
}

} // namespace us
