// One operation on a leaf until it has ended: short transfers go on with the rest, interrupted ones again,
// and zeros are written where the media cannot make them.
#pragma once

#include "engine/completion.h"
#include "targets/target.h"

namespace us {

class Queue;

struct LeafOp : Completion {
    Queue *queue = nullptr;
    Leaf *leaf = nullptr;
    LeafIo io;         // as it was asked for
    uint64_t good = 0; // bytes done
    uint32_t retries = 0;
    bool zero_fill = false;   // zeros are being written as data
    uint64_t sync_ticket = 0; // of a flush or durable write that others have to know of

    // Runs once: error is 0 or -errno, `good` is set.
    void (*ended)(LeafOp &op, int32_t error) = nullptr;
};

// Starts op (queue, leaf, io and ended set). True when it is under way in the ring: `ended` follows later,
// and op must stay where it is. False when it has ended already: `error` is set, and `ended` is not called.
bool start_leaf_op(LeafOp &op, int32_t &error);

} // namespace us
