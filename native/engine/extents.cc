#include "engine/extents.h"

#include <algorithm>

#include "core/walk.h"
#include "targets/format.h"

namespace us {

namespace {

// Looks at leaves and formats; each may cost a system call.
constexpr uint32_t MAX_LOOKS = 4096;

class Finder {
  public:
    Finder(Graph::Impl &graph, uint32_t max_extents) : graph_(graph), max_extents_(max_extents) {}

    // False when there were enough: of what comes next nothing is known.
    bool walk(uint32_t layer, uint64_t offset, uint64_t length) {
        us_walk walk{};
        us_walk_begin(&walk, layer, US_OP_READ, offset, length);
        for (us_piece piece;;) {
            us_walk_result result = us_walk_next(&walk, &graph_.config.table, graph_.live, nullptr, &piece);
            if (result == US_WALK_END) return true;
            Format *format = graph_.targets[piece.layer]->format();
            bool more = true;
            if (result == US_WALK_PIECE)
                more = look_at_leaf(piece);
            else if (result == US_WALK_REDIRECT && format)
                more = look_at_format(*format, piece);
            else // what cannot be looked at is data: always a right answer
                more = add({piece.length, 0});
            if (!more || result == US_WALK_BAD || looks_ >= MAX_LOOKS) return false;
        }
    }

    std::vector<Extent> take() { return std::move(extents_); }

  private:
    bool add(const Extent &extent) {
        if (!extents_.empty() && extents_.back().flags == extent.flags)
            extents_.back().length += extent.length;
        else if (extents_.size() < max_extents_)
            extents_.push_back(extent);
        else
            return false;
        return true;
    }

    bool look_at_leaf(us_piece piece) {
        while (piece.length > 0) {
            Extent extent{piece.length, 0};
            if (looks_++ < MAX_LOOKS) extent = graph_.leaves[piece.layer]->extent(piece.offset, piece.length);
            piece.offset += extent.length;
            piece.length -= extent.length;
            if (!add(extent)) return false;
        }
        return true;
    }

    bool look_at_format(Format &format, us_piece piece) {
        while (piece.length > 0) {
            std::vector<FormatExtent> runs{{FormatExtent::data, piece.length}};
            if (looks_++ < MAX_LOOKS) runs = format.extents(piece.offset, piece.length);
            for (const FormatExtent &run : runs) {
                bool more = run.kind == FormatExtent::below
                                ? look_below(format, run)
                                : add({run.length, run.kind == FormatExtent::zeros ? ZEROS : 0});
                if (!more) return false;
                piece.offset += run.length;
                piece.length -= run.length;
            }
        }
        return true;
    }

    bool look_below(Format &format, const FormatExtent &run) {
        uint32_t child = format.config().children.at(run.child);
        uint64_t size = graph_.config.table.layers[child].size;
        uint64_t inside = run.offset < size ? std::min(run.length, size - run.offset) : 0;
        if (inside > 0 && !walk(child, run.offset, inside)) return false;
        return inside == run.length || add({run.length - inside, ZEROS});
    }

    static constexpr uint32_t ZEROS = EXTENT_HOLE | EXTENT_ZERO;

    Graph::Impl &graph_;
    uint32_t max_extents_, looks_ = 0;
    std::vector<Extent> extents_;
};

} // namespace

std::vector<Extent> find_extents(Graph::Impl &graph, uint32_t layer, uint64_t offset, uint64_t length,
                                 uint32_t max_extents) {
    Finder finder(graph, max_extents);
    finder.walk(layer, offset, length);
    return finder.take();
}

} // namespace us
