#include "targets/delay/durations.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <numbers>
#include <sstream>

#include "targets/config_error.h"

namespace us {

namespace {

// As the check before an apply has them: src/reconcile/preflight/traces.ts.
constexpr size_t TRACE_BYTES_MAX = 16 << 20;
// As src/spec/duration.ts has it: what a number of JSON can say exactly.
constexpr uint64_t DURATION_MAX = (uint64_t{1} << 53) - 1;

struct Unit {
    const char *name;
    uint64_t nanoseconds;
};
constexpr Unit UNITS[] = {{"ns", 1},
                          {"us", 1'000},
                          {"ms", 1'000'000},
                          {"s", 1'000'000'000},
                          {"m", 60'000'000'000},
                          {"h", 3'600'000'000'000}};

bool parse_duration(const std::string &text, uint64_t &nanoseconds) {
    size_t digits = text.find_first_not_of("0123456789");
    if (digits == 0 || digits > 16 || (digits > 1 && text[0] == '0')) return false;
    for (const Unit &unit : UNITS) {
        if (text.compare(digits, std::string::npos, unit.name) != 0) continue;
        uint64_t number = std::stoull(text.substr(0, digits));
        nanoseconds = number * unit.nanoseconds;
        return number <= DURATION_MAX / unit.nanoseconds;
    }
    return false;
}

std::string trimmed(std::string line) {
    line.erase(std::min(line.find('#'), line.size()));
    constexpr const char *BLANK = " \t\r";
    line.erase(0, std::min(line.find_first_not_of(BLANK), line.size()));
    line.erase(line.find_last_not_of(BLANK) + 1);
    return line;
}

[[noreturn]] void refuse(const std::string &said) {
    throw ConfigError("bad-value", "\"" + said + "\" says no delay");
}

} // namespace

Trace read_trace(const std::string &path, const std::string &layer) {
    auto fail = [&](const std::string &code, const std::string &why) {
        throw ConfigError(code, "the trace " + path + " of layer \"" + layer + "\": " + why, layer, path);
    };
    std::ifstream file(path);
    if (!file) fail(errno == ENOENT ? "path-missing" : "permission-denied", strerror(errno));
    Trace trace;
    size_t number = 1, bytes = 0;
    for (std::string line; std::getline(file, line); number++) {
        bytes += line.size() + 1;
        if (bytes > TRACE_BYTES_MAX) fail("bad-value", "it is longer than 16 MiB");
        std::string text = trimmed(line);
        if (text.empty()) continue;
        uint64_t duration = 0;
        if (!parse_duration(text, duration))
            fail("bad-value", "line " + std::to_string(number) + " is no duration such as 5ms");
        trace.push_back(duration);
    }
    if (file.bad()) fail("io-error", "it cannot be read");
    if (trace.empty()) fail("bad-value", "it holds no duration");
    return trace;
}

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
