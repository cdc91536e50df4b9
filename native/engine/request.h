// One client request on its way through the graph of layers.
//
//   frontend fills: tag, op, flags, root, offset, length, buffer, done
//   Queue::submit    walks the table, submits the pieces, hands redirected parts to handlers
//   done(request)    on the same queue thread, exactly once; error and good_bytes are set
//
// A request lives in an array of its frontend, indexed by tag: nothing is allocated per request on the fast
// path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/walk.h"
#include "targets/io.h"

namespace us {

// Where a request's bytes are: memory of the server, or a buffer registered with the queue's ring (ublk zero
// copy).
// The memory is aligned to 4096: leaves may use direct IO.
struct Buffer {
    std::byte *data = nullptr; // nullptr: use fixed_index
    int32_t fixed_index = -1;
};

enum RequestFlag : uint32_t {
    REQUEST_FUA = IO_FUA,           // durable before it completes
    REQUEST_NO_UNMAP = IO_NO_UNMAP, // write zeroes: keep the blocks allocated
    REQUEST_FAST_ONLY =
        IO_FAST_ONLY, // write zeroes: -EOPNOTSUPP rather than writing zeros slowly (NBD_CMD_FLAG_FAST_ZERO)
};

struct Request {
    // ---- set by the frontend
    uint32_t tag = 0; // index of the in-flight slot, below QueueOptions::depth
    us_op op = US_OP_READ;
    uint32_t flags = 0;  // RequestFlag
    uint32_t root = 0;   // layer index where the walk begins
    uint64_t offset = 0; // bytes, inside the root layer, multiples of its logical block; 0 for a flush
    uint64_t length = 0; // bytes; 0 for a flush
    Buffer buffer;       // length bytes for read and write, unused otherwise
    // When it was tried elsewhere before; empty again in done().
    FailedSync failed_sync;
    void (*done)(Request &) = nullptr;

    // ---- result, valid in done()
    int32_t error = 0;       // 0 or -errno
    uint64_t good_bytes = 0; // length of the prefix that succeeded; == length when error is 0

    // ---- the engine's own
    us_walk walk{};
    uint32_t pending = 0;      // pieces and handlers under way
    bool walking = false;      // the walk still has pieces to yield
    bool failed_piece = false; // some piece failed: decide when the last one has ended
    bool redirected =
        false;             // a layer left the fast path: carry it out carefully when the last piece has ended
    bool flushing = false; // the operation is done, and what it touched is being made durable
    Request *next_waiting = nullptr;

    us_op walk_op() const { return flushing ? US_OP_FLUSH : op; }
};

} // namespace us
