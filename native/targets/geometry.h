// How a layer looks to the layer above it.
#pragma once

#include <cstdint>

namespace us {

// What the compiler solved for a layer; see Geometry in src/layers/geometry.ts. Bytes.
struct Geometry {
    uint32_t logical_block = 512, physical_block = 512;
    uint64_t io_min = 512, io_opt = 0;
    uint64_t discard_granularity = 0, max_discard = 0, max_write_zeroes = 0;
    bool volatile_cache = true, fua = true, rotational = false;
};

} // namespace us
