// A set of block numbers, kept as ranges, and as text: "8,100-199".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace us {

class Ranges {
  public:
    Ranges() = default;
    // Ranges may touch and overlap. Throws ConfigError.
    explicit Ranges(const std::string &text);

    // In order, at most so many of them, then "…".
    std::string text(size_t ranges_max) const;

    bool empty() const { return ends_.empty(); }
    uint64_t size() const { return size_; }
    uint64_t first() const { return ends_.begin()->first; }      // of a set that is not empty
    uint64_t last() const { return ends_.rbegin()->second - 1; } // the same

    // Whether it has one of [begin, end).
    bool touches(uint64_t begin, uint64_t end) const;
    // What of [begin, end) is in it, in order, each with its end.
    std::vector<std::pair<uint64_t, uint64_t>> within(uint64_t begin, uint64_t end) const;
    // How many of [begin, end) it has.
    uint64_t count(uint64_t begin, uint64_t end) const;
    void add(uint64_t begin, uint64_t end);
    // How many there were of them.
    uint64_t remove(uint64_t begin, uint64_t end);

  private:
    std::map<uint64_t, uint64_t> ends_; // by first block: the block behind the last; apart from one another
    uint64_t size_ = 0;
};

} // namespace us
