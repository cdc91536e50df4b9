// How often each place was asked for, and random numbers that follow from it: the same ones for the same
// sequence of requests, whatever queues they come by.
//
//     place and operation ──hash──▶ one of SHARDS ──▶ a count of its own, as long as there is room
//                                               └──▶ one of a few that such places share
//
// Memory is bounded: the first million or so have counts of their own, some 40 bytes each. Behind them
// places share counts. That is as deterministic for one sequence of requests; but of requests that several
// queues carry out side by side, it then depends on their order which of two places that share has which
// number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "targets/io.h"

namespace us {

// 64 bits that look random, a function of the two.
uint64_t hash_of(uint64_t a, uint64_t b);

// 0 to 1, 1 excluded, from 64 random bits.
double fraction_of(uint64_t random);

class Visits {
  public:
    static constexpr size_t SHARDS = 16, PLACES = size_t{1} << 20, SHARED = size_t{1} << 16;

    // 64 bits by seed, operation, place, and how often that was asked for before; counts it. Any thread.
    uint64_t chance(uint64_t seed, const LeafIo &io);

    // That have counts of their own. Any thread.
    size_t places() const;

  private:
    struct Shard {
        mutable std::mutex mutex;
        std::unordered_map<uint64_t, uint32_t> own; // by place and operation
        std::vector<uint32_t> shared;               // once there is no room for one more of them
    };

    uint32_t visit(uint64_t key);

    std::array<Shard, SHARDS> shards_;
};

} // namespace us
