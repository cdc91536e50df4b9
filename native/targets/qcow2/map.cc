#include "targets/qcow2/map.h"

#include <algorithm>

namespace us::qcow2 {

namespace {

bool goes_on(const MapRun &before, const MapRun &run) {
    if (before.kind != run.kind || before.kind == US_QCOW2_INFLATE) return false;
    return before.host == 0 ? run.host == 0 : run.host == before.host + before.length;
}

void append(std::vector<MapRun> &runs, const MapRun &run) {
    if (!runs.empty() && goes_on(runs.back(), run))
        runs.back().length += run.length;
    else
        runs.push_back(run);
}

} // namespace

Task<int> map(Media &media, const Header &header, uint64_t start, uint64_t end, std::vector<MapRun> &runs,
              size_t most) {
    if (start >= end) co_return 0;
    uint64_t first = start / header.l2_span(), last = (end - 1) / header.l2_span();
    std::vector<std::byte> l1((last - first + 1) * 8), l2;
    if (int error = co_await media.read(header.l1_offset + first * 8, l1)) co_return error;
    const us_qcow2_shape &shape = header.shape;
    uint64_t cluster = header.cluster_bytes(), loaded = UINT64_MAX;
    for (uint64_t at = start; at < end && runs.size() <= most;) {
        uint64_t index = at / header.l2_span(), span_end = std::min(end, (index + 1) * header.l2_span());
        uint64_t table = load<uint64_t>(l1.data() + (index - first) * 8) & US_QCOW2_HOST_MASK;
        if (table == 0) {
            append(runs, {at, span_end - at, US_QCOW2_UNALLOCATED, 0});
            at = span_end;
            continue;
        }
        if (loaded != index) {
            l2.resize(cluster);
            if (int error = co_await media.read(table, l2)) co_return error;
            loaded = index;
        }
        uint64_t within = at % cluster;
        const std::byte *entry =
            l2.data() + at / cluster % us_qcow2_entries(&shape) * us_qcow2_entry_bytes(&shape);
        us_qcow2_run run =
            us_qcow2_entry(&shape, load<uint64_t>(entry), shape.extended ? load<uint64_t>(entry + 8) : 0,
                           at - within, within);
        uint64_t length = std::min(run.length, end - at);
        append(runs, {at, length, us_qcow2_kind(run.kind), run.host});
        at += length;
    }
    co_return 0;
}

} // namespace us::qcow2
