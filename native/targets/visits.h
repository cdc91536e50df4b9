// How often each place was asked for, and random numbers that follow from it: the same ones for the same
// sequence of requests, whatever queues they come by.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "targets/io.h"

namespace us {

// 64 bits that look random, a function of the two.
uint64_t hash_of(uint64_t a, uint64_t b);

// 0 to 1, 1 excluded, from 64 random bits.
double fraction_of(uint64_t random);

class Visits {
  public:
    // 64 bits by seed, operation, place, and how often that was asked for before; counts it. Any thread.
    uint64_t chance(uint64_t seed, const LeafIo &io);

  private:
    struct Shard {
        std::mutex mutex;
        std::unordered_map<uint64_t, uint32_t> visits; // by place and operation
    };

    uint32_t visit(uint64_t key);

    std::array<Shard, 16> shards_;
};

} // namespace us
