#include "frontends/ublk/params.h"

#include <algorithm>
#include <bit>

namespace us::ublk {

namespace {

// Limit of the driver (ublk_validate_params): 256 MiB.
constexpr int MAX_SHIFT = 28;
// A block request holds fewer than 4 GiB; whole logical blocks of it.
constexpr uint64_t MAX_REQUEST_BYTES = 0xffffffffull & ~4095ull;

uint8_t shift_of(uint64_t bytes) {
    return static_cast<uint8_t>(std::min(std::countr_zero(bytes), MAX_SHIFT));
}

uint32_t sectors_of(uint64_t bytes) {
    return static_cast<uint32_t>(std::min(bytes, MAX_REQUEST_BYTES) >> 9);
}

} // namespace

params device_params(const Geometry &geometry, const Limits &limits) {
    params p{};
    p.len = sizeof(p);
    p.types = PARAM_TYPE_BASIC | PARAM_TYPE_DMA_ALIGN;

    p.basic.attrs = (limits.read_only ? ATTR_READ_ONLY : 0) | (geometry.rotational ? ATTR_ROTATIONAL : 0) |
                    (geometry.volatile_cache ? ATTR_VOLATILE_CACHE : 0) |
                    (geometry.volatile_cache && geometry.fua ? ATTR_FUA : 0);
    p.basic.logical_bs_shift = shift_of(geometry.logical_block);
    p.basic.physical_bs_shift = std::max(shift_of(geometry.physical_block), p.basic.logical_bs_shift);
    p.basic.io_min_shift = std::max(shift_of(geometry.io_min), p.basic.physical_bs_shift);
    // 0 would be an optimum of one byte: no preference is the smallest preferred request.
    p.basic.io_opt_shift =
        std::max(geometry.io_opt == 0 ? uint8_t{0} : shift_of(geometry.io_opt), p.basic.io_min_shift);
    p.basic.max_sectors = limits.max_io_bytes >> 9;
    p.basic.dev_sectors = limits.size_bytes >> 9;

    if (!limits.read_only && (geometry.max_discard != 0 || geometry.max_write_zeroes != 0)) {
        p.types |= PARAM_TYPE_DISCARD;
        p.discard.discard_granularity = static_cast<uint32_t>(
            std::clamp<uint64_t>(geometry.discard_granularity, geometry.logical_block, 1u << MAX_SHIFT));
        p.discard.max_discard_sectors = sectors_of(geometry.max_discard);
        p.discard.max_discard_segments = geometry.max_discard != 0 ? 1 : 0;
        p.discard.max_write_zeroes_sectors = sectors_of(geometry.max_write_zeroes);
    }

    // A leaf opened for direct IO takes memory that is aligned to its blocks.
    p.dma.alignment = limits.zero_copy ? geometry.logical_block - 1 : 3;
    return p;
}

} // namespace us::ublk
