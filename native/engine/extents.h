// Allocation of a layer, found by asking the leaves and formats along the mapping of a read.
#pragma once

#include <vector>

#include "engine/graph_impl.h"

namespace us {

// Extents of [offset, offset + length) of a layer, neighbours with the same answer merged, at most
// max_extents (1 or more). Covers a prefix, never nothing: it stops early rather than look at very many
// pieces.
std::vector<Extent> find_extents(Graph::Impl &graph, uint32_t layer, uint64_t offset, uint64_t length,
                                 uint32_t max_extents);

} // namespace us
