// Allocation, as NBD's base:allocation tells it.
#pragma once

#include <cstdint>

namespace us {

// One run of bytes with the same answer. flags: bit 0 hole, bit 1 reads as zeros
// (NBD protocol, "base:allocation metadata context").
struct Extent {
    uint64_t length = 0;
    uint32_t flags = 0;
};

constexpr uint32_t EXTENT_HOLE = 1u << 0;
constexpr uint32_t EXTENT_ZERO = 1u << 1;

} // namespace us
