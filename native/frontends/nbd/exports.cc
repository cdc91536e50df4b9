#include "frontends/nbd/exports.h"

#include <algorithm>
#include <bit>

#include "frontends/nbd/protocol.h"

namespace us::nbd {

namespace {

uint16_t transmission_flags(const Geometry &geometry, bool read_only) {
    // Every connection shares the same leaves and nothing is cached per connection, so a flush covers them
    // all.
    uint16_t flags = FLAG_HAS_FLAGS | FLAG_SEND_FLUSH | FLAG_SEND_FUA | FLAG_CAN_MULTI_CONN | FLAG_SEND_CACHE;
    if (geometry.rotational) flags |= FLAG_ROTATIONAL;
    if (read_only) return flags | FLAG_READ_ONLY;
    if (geometry.discard_granularity != 0) flags |= FLAG_SEND_TRIM;
    return flags | FLAG_SEND_WRITE_ZEROES | FLAG_SEND_FAST_ZERO;
}

// "Size constraints": a power of two, at least the minimum and 512, no more than the payload.
uint32_t preferred_block(const Geometry &geometry) {
    uint64_t wish = std::max<uint64_t>({4096, geometry.physical_block, geometry.io_min});
    return static_cast<uint32_t>(std::min<uint64_t>(std::bit_ceil(wish), MAX_PAYLOAD));
}

} // namespace

std::vector<ExportInfo> describe_exports(const Graph &graph, const std::string &stack) {
    std::vector<ExportInfo> all;
    for (const Export &e : graph.exports()) {
        const Geometry &geometry = graph.geometry(e.root);
        ExportInfo info;
        info.name = e.name;
        info.description = "layer " + graph.name(e.root) + " of stack " + stack;
        info.index = static_cast<uint32_t>(all.size());
        info.root = e.root;
        info.size = graph.size(e.root);
        info.flags = transmission_flags(geometry, e.read_only);
        info.minimum_block = geometry.logical_block;
        info.preferred_block = preferred_block(geometry);
        info.max_discard = geometry.max_discard;
        info.max_write_zeroes = geometry.max_write_zeroes;
        info.read_only = e.read_only;
        all.push_back(std::move(info));
    }
    return all;
}

const ExportInfo *find_export(const std::vector<ExportInfo> &exports, std::string_view name) {
    if (name.empty() && exports.size() == 1) return &exports.front();
    for (const ExportInfo &info : exports)
        if (info.name == name && !name.empty()) return &info;
    return nullptr;
}

} // namespace us::nbd
