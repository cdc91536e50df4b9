#include "targets/throttle/throttle.h"

#include <string>

namespace us {

namespace {

constexpr uint64_t DEFAULT_BURST_NS = 100'000'000;
// A timer that is late costs no throughput; a server that stood still does not make up for it all at once.
constexpr uint64_t LATE_MAX_NS = 10'000'000;
constexpr uint32_t READS = 1u << US_OP_READ | 1u << US_OP_CACHE;
constexpr uint32_t WRITES = 1u << US_OP_WRITE | 1u << US_OP_DISCARD | 1u << US_OP_WRITE_ZEROES;

struct Rates {
    uint64_t iops, bandwidth, burst_ns;
};

Rates read_rates(const nlohmann::json &params, const std::string &direction, uint64_t burst_ns) {
    auto number = [&](std::string name, uint64_t otherwise) {
        if (!direction.empty()) name[0] = static_cast<char>(toupper(name[0]));
        return params.value(direction + name, otherwise);
    };
    return {number("iops", 0), number("bandwidthBytes", 0), number("burstNs", burst_ns)};
}

} // namespace

uint64_t ThrottleInstrument::Room::ready(const Waiter &waiter) const {
    return std::max(limits[waiter.lane].ready(), limits[TOTAL].ready());
}

void ThrottleInstrument::Room::goes(const Waiter &waiter, uint64_t since) {
    const auto &waiting = static_cast<const Waiting &>(waiter);
    since = std::max(since, steady_now() - LATE_MAX_NS);
    uint64_t requests = 1;
    if (iops_bytes != 0) requests = std::max<uint64_t>(1, (waiting.bytes + iops_bytes - 1) / iops_bytes);
    for (uint32_t direction : {waiter.lane, uint32_t{TOTAL}}) {
        limits[direction].requests.take(requests, since);
        limits[direction].bytes.take(waiting.bytes, since);
    }
}

Instrument::Watch ThrottleInstrument::configure(const nlohmann::json &params) {
    Rates total = read_rates(params, "", DEFAULT_BURST_NS);
    Rates rates[] = {read_rates(params, "read", total.burst_ns), read_rates(params, "write", total.burst_ns),
                     total};
    auto iops_bytes = params.value("iopsBytes", uint64_t{0});
    Watch watch;
    room_.change([&] {
        for (uint32_t direction : {READ, WRITE, TOTAL}) {
            const Rates &rate = rates[direction];
            room_.limits[direction].requests.limit(rate.iops, rate.burst_ns);
            room_.limits[direction].bytes.limit(rate.bandwidth, rate.burst_ns);
        }
        room_.iops_bytes = iops_bytes;
        bool both = room_.limits[TOTAL].any();
        if (both || room_.limits[READ].any()) watch.ops |= READS;
        if (both || room_.limits[WRITE].any()) watch.ops |= WRITES;
    });
    return watch;
}

nlohmann::json ThrottleInstrument::counts() const {
    auto get = [](const std::atomic<uint64_t> &count) { return count.load(std::memory_order_relaxed); };
    return {{"throttledReads", get(counts_[READ].throttled)},
            {"throttledWrites", get(counts_[WRITE].throttled)},
            {"readsWaitedNs", get(counts_[READ].waited_ns)},
            {"writesWaitedNs", get(counts_[WRITE].waited_ns)}};
}

Task<IoResult> ThrottleInstrument::execute(Executor &executor, LeafIo io, const Run &run) {
    if (io.op != US_OP_FLUSH) {
        Waiting waiting;
        waiting.lane = us_op_writes(io.op) ? WRITE : READ;
        waiting.bytes = io.op == US_OP_READ || io.op == US_OP_WRITE || io.op == US_OP_CACHE ? io.length : 0;
        uint64_t waited = co_await room_.pass(executor, waiting);
        if (waited != 0) {
            counts_[waiting.lane].throttled.fetch_add(1, std::memory_order_relaxed);
            counts_[waiting.lane].waited_ns.fetch_add(waited, std::memory_order_relaxed);
        }
    }
    IoResult result = co_await pass(executor, io, run);
    co_return result;
}

} // namespace us
