// One refcount block: an array of refcounts of 1 to 64 bits. Specification, "Host cluster management".
//
//     16 bits and more    big-endian words
//     8 bits and less     from the least significant bit of each byte on
#pragma once

#include "targets/qcow2/format.h"

namespace us::qcow2 {

inline uint64_t refcount_at(const std::byte *block, uint32_t order, uint64_t index) {
    if (order == 6) return load<uint64_t>(block + index * 8);
    if (order == 5) return load<uint32_t>(block + index * 4);
    if (order == 4) return load<uint16_t>(block + index * 2);
    uint32_t bits = 1u << order;
    uint64_t bit = index * bits;
    return static_cast<uint32_t>(block[bit / 8]) >> bit % 8 & ((1u << bits) - 1);
}

inline uint64_t refcount_max(uint32_t order) {
    return order == 6 ? UINT64_MAX : (uint64_t{1} << (1u << order)) - 1;
}

// value: at most refcount_max().
inline void set_refcount(std::byte *block, uint32_t order, uint64_t index, uint64_t value) {
    if (order == 6) return store<uint64_t>(block + index * 8, value);
    if (order == 5) return store<uint32_t>(block + index * 4, static_cast<uint32_t>(value));
    if (order == 4) return store<uint16_t>(block + index * 2, static_cast<uint16_t>(value));
    uint32_t bits = 1u << order;
    uint64_t bit = index * bits;
    std::byte mask{static_cast<uint8_t>(((1u << bits) - 1) << bit % 8)};
    std::byte &at = block[bit / 8];
    at = (at & ~mask) | (std::byte{static_cast<uint8_t>(value << bit % 8)} & mask);
}

} // namespace us::qcow2
