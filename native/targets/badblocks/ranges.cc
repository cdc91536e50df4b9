#include "targets/badblocks/ranges.h"

#include <algorithm>
#include <cstdlib>

#include "targets/config_error.h"

namespace us {

namespace {

constexpr uint64_t BLOCK_MAX = (uint64_t{1} << 53) - 1; // what a number of JSON can say exactly

[[noreturn]] void refuse(const std::string &text) {
    throw ConfigError("bad-value", "\"" + text + "\" is neither a block's number nor a range such as 8-15");
}

uint64_t parse_number(const std::string &text, const std::string &all) {
    bool digits =
        !text.empty() && text.size() <= 16 && text.find_first_not_of("0123456789") == std::string::npos;
    uint64_t number = digits ? std::stoull(text) : UINT64_MAX;
    if (number > BLOCK_MAX) refuse(all);
    return number;
}

} // namespace

Ranges::Ranges(const std::string &text) {
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find(',', at), text.size());
        std::string entry = text.substr(at, end - at);
        size_t dash = std::min(entry.find('-'), entry.size());
        uint64_t first = parse_number(entry.substr(0, dash), entry);
        uint64_t last = dash < entry.size() ? parse_number(entry.substr(dash + 1), entry) : first;
        if (last < first) refuse(entry);
        add(first, last + 1);
        at = end + 1;
    }
}

std::string Ranges::text(size_t ranges_max) const {
    std::string out;
    for (auto [begin, end] : ends_) {
        if (!out.empty()) out += ',';
        if (ranges_max-- == 0) return out + "…";
        out += std::to_string(begin);
        if (end - begin > 1) out += '-' + std::to_string(end - 1);
    }
    return out;
}

bool Ranges::touches(uint64_t begin, uint64_t end) const {
    auto next = ends_.lower_bound(begin);
    if (next != ends_.end() && next->first < end) return true;
    return next != ends_.begin() && std::prev(next)->second > begin;
}

std::vector<std::pair<uint64_t, uint64_t>> Ranges::within(uint64_t begin, uint64_t end) const {
    std::vector<std::pair<uint64_t, uint64_t>> out;
    auto next = ends_.upper_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second > begin) next = std::prev(next);
    for (; next != ends_.end() && next->first < end; ++next)
        out.emplace_back(std::max(next->first, begin), std::min(next->second, end));
    return out;
}

uint64_t Ranges::count(uint64_t begin, uint64_t end) const {
    uint64_t count = 0;
    for (auto [from, to] : within(begin, end))
        count += to - from;
    return count;
}

void Ranges::add(uint64_t begin, uint64_t end) {
    auto next = ends_.upper_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second >= begin) next = std::prev(next);
    while (next != ends_.end() && next->first <= end) {
        begin = std::min(begin, next->first);
        end = std::max(end, next->second);
        size_ -= next->second - next->first;
        next = ends_.erase(next);
    }
    ends_.emplace(begin, end);
    size_ += end - begin;
}

uint64_t Ranges::remove(uint64_t begin, uint64_t end) {
    uint64_t before = size_;
    auto next = ends_.upper_bound(begin);
    if (next != ends_.begin() && std::prev(next)->second > begin) next = std::prev(next);
    while (next != ends_.end() && next->first < end) {
        auto [first, last] = *next;
        next = ends_.erase(next);
        size_ -= last - first;
        for (auto [from, to] : {std::pair(first, begin), std::pair(end, last)}) {
            if (from >= to) continue;
            ends_.emplace(from, to);
            size_ += to - from;
        }
    }
    return before - size_;
}

} // namespace us
