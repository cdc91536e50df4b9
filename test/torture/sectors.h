// Contents of sectors, each kept once: a simulated disk is a list of their numbers, so that it is copied and
// compared in no time. Number 0 is all zeros.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>

constexpr uint64_t SECTOR = 512;

using Content = uint32_t;

class Sectors {
  public:
    Content number(const std::byte *bytes);
    const std::byte *bytes(Content number) const { return all_[number].data(); }
    void forget_all();

    static Sectors &instance();

  private:
    Sectors() { forget_all(); }

    std::deque<std::array<std::byte, SECTOR>> all_;
    std::unordered_map<uint64_t, Content> by_hash_;
};
