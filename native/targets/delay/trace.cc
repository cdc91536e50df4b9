#include "targets/delay/trace.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "targets/config_error.h"

namespace us {

namespace {

// As the check before an apply has them: src/reconcile/preflight/traces.ts.
constexpr size_t TRACE_BYTES_MAX = 16 << 20;

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

using Fail = std::function<void(const std::string &code, const std::string &why)>;

std::string read_text(const std::string &path, size_t bytes_max, const Fail &fail) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail(errno == ENOENT ? "path-missing" : "permission-denied", strerror(errno));
    std::string text(bytes_max + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) fail("io-error", "it cannot be read");
    text.resize(static_cast<size_t>(file.gcount()));
    if (text.size() > bytes_max) fail("bad-value", "it is longer than 16 MiB");
    return text;
}

Trace parse(const std::string &text, const Fail &fail) {
    std::istringstream lines(text);
    Trace trace;
    size_t number = 1;
    for (std::string line; std::getline(lines, line); number++) {
        std::string said = trimmed(line);
        if (said.empty()) continue;
        uint64_t duration = 0;
        if (!parse_duration(said, duration))
            fail("bad-value", "line " + std::to_string(number) + " is no duration such as 5ms");
        trace.push_back(duration);
    }
    if (trace.empty()) fail("bad-value", "it holds no duration");
    return trace;
}

// Behind the path that it came from: another trace is not this one. A comment to parse().
std::string owner_line(const std::string &path) {
    return "#" + path + "\n";
}

// Whole, or not at all: this server may be killed meanwhile.
bool keep(const std::string &kept, const std::string &text) {
    const std::string fresh = kept + ".new";
    std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    return file && rename(fresh.c_str(), kept.c_str()) == 0;
}

std::optional<Trace> recall(const std::string &path, const std::string &kept) {
    const std::string owner = owner_line(path);
    const Fail give_up = [&](const std::string &code, const std::string &why) {
        throw ConfigError(code, why);
    };
    try {
        std::string text = read_text(kept, owner.size() + TRACE_BYTES_MAX, give_up);
        if (text.starts_with(owner)) return parse(text, give_up);
    } catch (const ConfigError &) { // no predecessor kept one: what is wrong with the file itself is said
    }
    return {};
}

} // namespace

Trace load_trace(const std::string &path, const std::string &kept, const std::string &layer,
                 const std::function<void(const std::string &)> &notice) {
    const std::string about = "the trace " + path + " of layer \"" + layer + "\": ";
    const Fail fail = [&](const std::string &code, const std::string &why) {
        throw ConfigError(code, about + why, layer, path);
    };
    try {
        std::string text = read_text(path, TRACE_BYTES_MAX, fail);
        Trace trace = parse(text, fail);
        if (!keep(kept, owner_line(path) + text)) notice(about + "it cannot be kept for another server");
        return trace;
    } catch (const ConfigError &error) {
        std::optional<Trace> trace = recall(path, kept);
        if (!trace) throw;
        notice(std::string(error.what()) + "; the one that was read before serves on");
        return *std::move(trace);
    }
}

} // namespace us
