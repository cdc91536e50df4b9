// The one source of chance: everything that happens follows from its seed.
#pragma once

#include <cstdint>

// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

inline uint64_t mix(uint64_t a, uint64_t b) {
    return mix(mix(a + 0x9e3779b97f4a7c15) ^ b);
}

class Prng {
  public:
    explicit Prng(uint64_t seed) : state_(mix(seed)) {}

    uint64_t next() { return mix(state_ += 0x9e3779b97f4a7c15); }
    uint64_t below(uint64_t limit) { return next() % limit; }
    bool one_in(uint64_t n) { return next() % n == 0; }

  private:
    uint64_t state_;
};
