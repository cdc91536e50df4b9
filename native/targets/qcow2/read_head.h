// The bytes that parse_header() wants: the first cluster, which is far smaller than the largest that there
// can be.
#pragma once

#include <algorithm>
#include <cerrno>

#include "targets/qcow2/buffer.h"
#include "targets/qcow2/format.h"
#include "targets/qcow2/media.h"

namespace us::qcow2 {

// What is no image is as large as what was read of it.
inline uint64_t first_cluster_bytes(std::span<const std::byte> head) {
    constexpr size_t CLUSTER_BITS_AT = 20;
    if (head.size() < V2_HEADER_BYTES || load<uint32_t>(head.data()) != MAGIC) return head.size();
    uint32_t bits = load<uint32_t>(head.data() + CLUSTER_BITS_AT);
    return bits > MAX_CLUSTER_BITS ? head.size() : uint64_t{1} << bits;
}

// 0 or -errno.
inline Task<int> read_head(Media &media, Buffer &head) {
    constexpr uint64_t USUAL_BYTES = 64 << 10;
    for (uint64_t wanted = USUAL_BYTES;;) {
        head = Buffer(std::min(media.size(), wanted));
        if (!head) co_return -ENOMEM;
        if (int error = co_await media.read(0, head.span())) co_return error;
        wanted = first_cluster_bytes(head.span());
        if (std::min(media.size(), wanted) <= head.span().size()) co_return 0;
    }
}

} // namespace us::qcow2
