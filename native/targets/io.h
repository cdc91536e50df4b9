// One operation on one leaf, and its result.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/table.h"

namespace us {

enum IoFlag : uint32_t {
    IO_FUA = 1u << 0,       // durable before it completes
    IO_NO_UNMAP = 1u << 1,  // write zeroes: keep the blocks allocated
    IO_FAST_ONLY = 1u << 2, // write zeroes: -EOPNOTSUPP rather than writing zeros slowly
};

// Where bytes are: memory of this process, or a part of a buffer registered with the queue's ring.
struct IoBuffer {
    std::byte *data = nullptr; // nullptr: the registered buffer
    int32_t fixed_index = -1;
    uint64_t fixed_offset = 0; // bytes into the registered buffer

    IoBuffer at(uint64_t bytes) const {
        return data ? IoBuffer{data + bytes, -1, 0} : IoBuffer{nullptr, fixed_index, fixed_offset + bytes};
    }
};

// Leaves that have failed already to make something durable for a request that is carried out again. Asked
// once more they might succeed, without what a page cache or a disk dropped when they failed (fsync(2),
// "EIO").
struct FailedSync {
    uint64_t leaves = 0; // bit L: the leaf of layer L
    int32_t error = 0;   // -errno, of the first one

    void add(uint32_t layer, int32_t why) {
        if (leaves == 0) error = why;
        leaves |= uint64_t{1} << layer;
    }
    int32_t of(uint32_t layer) const { return leaves >> layer & 1 ? error : 0; }
};
static_assert(US_MAX_LAYERS <= 64);

struct LeafIo {
    us_op op = US_OP_READ;
    uint32_t flags = 0;  // IoFlag
    uint64_t offset = 0; // bytes, inside the leaf
    uint64_t length = 0;
    IoBuffer buffer;                         // read and write only
    const FailedSync *failed_sync = nullptr; // of its request, which outlives it

    // Has a durable effect, or fails.
    bool durable() const { return op == US_OP_FLUSH || (op == US_OP_WRITE && (flags & IO_FUA)); }
};

// How far an operation came.
struct IoResult {
    int32_t error = 0; // 0 or -errno
    uint64_t good = 0; // bytes of the prefix that succeeded; all of them when error is 0
};

} // namespace us
