#include "targets/chooser.h"

#include "targets/config_error.h"

namespace us {

namespace {

constexpr const char *OPS[] = {"read", "write", "flush", "discard", "write-zeroes", "cache"};

[[noreturn]] void refuse(const std::string &message) {
    throw ConfigError("bad-value", message);
}

uint64_t number(const nlohmann::json &params, const char *key, uint64_t otherwise) {
    return params.value(key, otherwise);
}

} // namespace

uint32_t parse_ops(const std::string &names) {
    uint32_t ops = 0;
    for (size_t at = 0; at <= names.size() && !names.empty();) {
        size_t end = std::min(names.find(',', at), names.size());
        std::string name = names.substr(at, end - at);
        uint32_t op = 0;
        while (op < std::size(OPS) && name != OPS[op])
            op++;
        if (op == std::size(OPS)) refuse("there is no operation \"" + name + "\"");
        ops |= 1u << op;
        at = end + 1;
    }
    return ops;
}

Chooser::Chooser(const nlohmann::json &params, const std::string &default_ops)
    : ops_(parse_ops(params.value("ops", default_ops))), start_(number(params, "startBytes", 0)),
      end_(UINT64_MAX), probability_(params.value("probability", 1.0)), seed_(number(params, "seed", 0)),
      nth_(number(params, "nth", 0)), every_(number(params, "every", 0)),
      limit_(number(params, "limit", UINT64_MAX)), up_ns_(number(params, "upNs", 0)),
      down_ns_(number(params, "downNs", 0)) {
    uint64_t length = number(params, "lengthBytes", UINT64_MAX);
    if (length <= UINT64_MAX - start_) end_ = start_ + length;
    if (!(probability_ >= 0 && probability_ <= 1)) refuse("a probability is a number from 0 to 1");
}

bool Chooser::touches(const LeafIo &io) const {
    if (!(ops_ >> io.op & 1)) return false;
    return io.op == US_OP_FLUSH || (io.offset < end_ && io.offset + io.length > start_);
}

bool Chooser::down() const {
    if (down_ns_ == 0) return up_ns_ == 0; // without a schedule: always; with up alone: never
    auto age = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin_).count();
    return static_cast<uint64_t>(age) % (up_ns_ + down_ns_) >= up_ns_;
}

bool Chooser::strikes(const LeafIo &io) {
    if (!touches(io) || !down()) return false;
    if (probability_ < 1 && fraction_of(visits_.chance(seed_, io)) >= probability_) return false;
    uint64_t number = candidates_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (nth_ != 0 && number != nth_) return false;
    if (every_ != 0 && number % every_ != 0) return false;
    return strikes_.fetch_add(1, std::memory_order_relaxed) < limit_;
}

uint64_t Chooser::chance(const LeafIo &io, uint64_t purpose) const {
    return hash_of(hash_of(seed_ ^ 0x9e3779b9, io.offset << 3 | static_cast<uint64_t>(io.op)),
                   hash_of(purpose, strikes_.load(std::memory_order_relaxed)));
}

} // namespace us
