#include "targets/badblocks/badblocks.h"

#include <cerrno>

namespace us {

namespace {

constexpr uint64_t DEFAULT_BLOCK = 512;
constexpr uint64_t WRITE_FAILURES_MAX = 255;
constexpr size_t SHOWN_RANGES = 256; // of the list in the status

constexpr uint32_t LOOKED_AT =
    1u << US_OP_READ | 1u << US_OP_WRITE | 1u << US_OP_DISCARD | 1u << US_OP_WRITE_ZEROES;

} // namespace

Instrument::Watch BadblocksInstrument::configure(const nlohmann::json &params) {
    auto text = params.value("blocks", std::string());
    auto block = params.value("blockBytes", DEFAULT_BLOCK);
    auto write_failures = params.value("writeFailures", uint64_t{0});
    bool enabled = params.value("enabled", true);
    if (block == 0 || block > config().size) throw ConfigError("bad-value", "there is no block of this size");
    if (write_failures > WRITE_FAILURES_MAX)
        throw ConfigError("bad-value", "a block refuses 255 writes at most");
    Ranges blocks(text);

    std::lock_guard lock(list_mutex_);
    // Another setting that changes makes no block bad again.
    if (text != listed_ || block != block_bytes_) {
        bad_ = std::move(blocks);
        refused_.clear();
    }
    listed_ = text;
    block_bytes_ = block;
    refused_.resize(write_failures);
    enabled_ = enabled;
    uint64_t behind = (config().size + block - 1) / block;
    if (!enabled_ || bad_.empty() || bad_.first() >= behind) return {};
    return {LOOKED_AT, bad_.first() * block, std::min(bad_.last() + 1, behind) * block};
}

nlohmann::json BadblocksInstrument::counts() const {
    std::lock_guard lock(list_mutex_);
    return {{"failedReads", failed_reads_.load(std::memory_order_relaxed)},
            {"failedWrites", failed_writes_.load(std::memory_order_relaxed)},
            {"clearedBlocks", cleared_.load(std::memory_order_relaxed)},
            {"badBlocks", bad_.size()}};
}

nlohmann::json BadblocksInstrument::settings(const nlohmann::json &params) const {
    nlohmann::json now = params;
    std::lock_guard lock(list_mutex_);
    now["blocks"] = bad_.text(SHOWN_RANGES);
    return now;
}

BadblocksInstrument::Span BadblocksInstrument::span_of(const LeafIo &io) const {
    return {io.offset / block_bytes_, (io.offset + io.length + block_bytes_ - 1) / block_bytes_};
}

bool BadblocksInstrument::refuses(const LeafIo &io) {
    std::lock_guard lock(list_mutex_);
    Span span = span_of(io);
    if (!enabled_ || !bad_.touches(span.begin, span.end)) return false;
    if (io.op == US_OP_READ) return true;
    if (refused_.empty()) return false;
    uint64_t willing = refused_.back().count(span.begin, span.end);
    if (willing == bad_.count(span.begin, span.end)) return false;
    // One more for each of them.
    for (size_t n = refused_.size(); n-- > 0;)
        for (auto [begin, end] : (n == 0 ? bad_ : refused_[n - 1]).within(span.begin, span.end))
            refused_[n].add(begin, end);
    return true;
}

void BadblocksInstrument::written(const LeafIo &io) {
    std::lock_guard lock(list_mutex_);
    if (!enabled_) return;
    Span span = span_of(io);
    cleared_.fetch_add(bad_.remove(span.begin, span.end), std::memory_order_relaxed);
    for (Ranges &refused : refused_)
        refused.remove(span.begin, span.end);
    if (bad_.empty()) watch({});
}

Task<IoResult> BadblocksInstrument::execute(Executor &executor, LeafIo io, const Run &run) {
    bool looks = LOOKED_AT >> io.op & 1;
    if (looks && refuses(io)) {
        (io.op == US_OP_READ ? failed_reads_ : failed_writes_).fetch_add(1, std::memory_order_relaxed);
        co_return IoResult{-EIO, 0};
    }
    IoResult result = co_await pass(executor, io, run);
    if (result.error == 0 && us_op_writes(io.op)) written(io);
    co_return result;
}

} // namespace us
