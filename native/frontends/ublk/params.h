// From a layer's geometry to the parameters of a ublk device. Pure.
#pragma once

#include <cstdint>

#include "engine/graph.h"
#include "frontends/ublk/uapi.h"

namespace us::ublk {

struct Limits {
    uint64_t size_bytes = 0;
    uint32_t max_io_bytes = 0; // longest read or write: dev_info.max_io_buf_bytes
    bool read_only = false;
    bool zero_copy = false; // leaves do direct IO on the client's own pages
};

// io_min and io_opt have to be powers of two here: the largest one that divides the layer's value.
params device_params(const Geometry &geometry, const Limits &limits);

} // namespace us::ublk
