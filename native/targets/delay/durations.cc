#include "targets/delay/durations.h"

#include <cmath>
#include <numbers>
#include <sstream>

#include "targets/config_error.h"

namespace us {

namespace {

[[noreturn]] void refuse(const std::string &said) {
    throw ConfigError("bad-value", "\"" + said + "\" says no delay");
}

} // namespace

Durations::Durations(const std::string &said, uint64_t seed, std::shared_ptr<const Trace> trace)
    : seed_(seed) {
    std::istringstream words(said);
    std::string kind, rest;
    words >> kind;
    if (kind == "fixed" && words >> first_)
        kind_ = Kind::fixed;
    else if (kind == "uniform" && words >> first_ >> second_ && first_ <= second_)
        kind_ = Kind::uniform;
    else if (kind == "normal" && words >> first_ >> second_)
        kind_ = Kind::normal;
    else if (kind == "trace" && trace)
        kind_ = Kind::trace;
    else
        refuse(said);
    auto sane = [](double value) { return value >= 0 && value <= static_cast<double>(DURATION_MAX); };
    if (words >> rest || !sane(first_) || !sane(second_)) refuse(said);
    trace_ = std::move(trace);
}

uint64_t Durations::next(const LeafIo &io) {
    switch (kind_) {
    case Kind::fixed:
        return static_cast<uint64_t>(first_);
    case Kind::uniform:
        return static_cast<uint64_t>(first_ + fraction_of(visits_.chance(seed_, io)) * (second_ - first_));
    case Kind::normal: {
        uint64_t random = visits_.chance(seed_, io);
        // Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
        double radius = std::sqrt(-2 * std::log(1 - fraction_of(random)));
        double angle = 2 * std::numbers::pi * fraction_of(hash_of(random, 1));
        double value = first_ + second_ * radius * std::cos(angle);
        return value > 0 ? static_cast<uint64_t>(value) : 0;
    }
    case Kind::trace:
        return (*trace_)[turn_.fetch_add(1, std::memory_order_relaxed) % trace_->size()];
    }
    return 0;
}

} // namespace us
