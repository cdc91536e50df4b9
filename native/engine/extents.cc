#include "engine/extents.h"

#include "core/walk.h"

namespace us {

namespace {

// Looks at leaves; each may cost a system call.
constexpr uint32_t MAX_LOOKS = 4096;

} // namespace

std::vector<Extent> find_extents(Graph::Impl &graph, uint32_t layer, uint64_t offset, uint64_t length,
                                 uint32_t max_extents) {
    std::vector<Extent> extents;
    uint32_t looks = 0;
    us_walk walk{};
    us_walk_begin(&walk, layer, US_OP_READ, offset, length);
    us_piece piece;
    for (;;) {
        us_walk_result result = us_walk_next(&walk, &graph.config.table, graph.live, &piece);
        if (result == US_WALK_END) return extents;
        bool known = result == US_WALK_PIECE && looks < MAX_LOOKS;
        while (piece.length > 0) {
            // What cannot be looked at is data: always a right answer.
            Extent extent{piece.length, 0};
            if (known && looks++ < MAX_LOOKS)
                extent = graph.leaves[piece.layer]->extent(piece.offset, piece.length);
            piece.offset += extent.length;
            piece.length -= extent.length;
            if (!extents.empty() && extents.back().flags == extent.flags)
                extents.back().length += extent.length;
            else if (extents.size() < max_extents)
                extents.push_back(extent);
            else
                return extents;
        }
        if (result == US_WALK_BAD || looks >= MAX_LOOKS) return extents;
    }
}

} // namespace us
