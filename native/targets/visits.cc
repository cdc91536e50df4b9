#include "targets/visits.h"

#include <cmath>

namespace us {

// The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014).
uint64_t hash_of(uint64_t a, uint64_t b) {
    uint64_t x = a + 0x9e3779b97f4a7c15 * (b + 1);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

double fraction_of(uint64_t random) {
    return std::ldexp(static_cast<double>(random >> 11), -53);
}

uint32_t Visits::visit(uint64_t key) {
    uint64_t hash = hash_of(key, 0);
    Shard &shard = shards_[hash % SHARDS];
    std::lock_guard lock(shard.mutex);
    auto known = shard.own.find(key);
    if (known != shard.own.end()) return known->second++;
    if (shard.own.size() < PLACES / SHARDS) {
        shard.own.emplace(key, 1);
        return 0;
    }
    if (shard.shared.empty()) shard.shared.resize(SHARED / SHARDS);
    return shard.shared[hash / SHARDS % shard.shared.size()]++;
}

size_t Visits::places() const {
    size_t places = 0;
    for (const Shard &shard : shards_) {
        std::lock_guard lock(shard.mutex);
        places += shard.own.size();
    }
    return places;
}

uint64_t Visits::chance(uint64_t seed, const LeafIo &io) {
    uint64_t key = io.offset << 3 | static_cast<uint64_t>(io.op);
    return hash_of(hash_of(seed, key), visit(key));
}

} // namespace us
