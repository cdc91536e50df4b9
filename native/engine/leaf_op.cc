#include "engine/leaf_op.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "engine/counters.h"
#include "engine/graph_impl.h"
#include "engine/log.h"
#include "engine/queue_impl.h"

namespace us {

namespace {

constexpr uint64_t ZERO_BYTES = 1 << 20;

// What a kernel may answer to an entry again and again without being broken.
constexpr uint32_t MAX_RETRIES = 1000;

std::byte *zeros() {
    alignas(4096) static std::array<std::byte, ZERO_BYTES> bytes{};
    return bytes.data();
}

bool moves_data(const LeafOp &op) {
    return op.io.op == US_OP_READ || op.io.op == US_OP_WRITE || op.zero_fill;
}

// What is still to do, as one operation for the leaf.
LeafIo rest(const LeafOp &op) {
    LeafIo io = op.io;
    io.offset += op.good;
    io.length -= op.good;
    if (op.zero_fill) {
        io.op = US_OP_WRITE;
        // Zeros that have to be durable are flushed afterwards. Written durably they might be told of a
        // failed writeback, which is told once, in place of that flush, which the leaf remembers.
        io.flags &= ~IO_FUA;
        io.length = std::min(io.length, ZERO_BYTES);
        io.buffer = IoBuffer{zeros()};
    } else if (moves_data(op)) {
        io.buffer = io.buffer.at(op.good);
    }
    return io;
}

const char *op_name(us_op op) {
    constexpr const char *names[] = {"read", "write", "flush", "discard", "write-zeroes", "cache"};
    return names[op];
}

void count(LeafOp &op, int32_t error) {
    LeafCounters &c = op.queue->counters().leaves[op.leaf->config().index];
    switch (op.io.op) {
    case US_OP_READ:
        c.reads.add(1);
        c.bytes_read.add(op.good);
        break;
    case US_OP_WRITE:
        c.writes.add(1);
        c.bytes_written.add(op.good);
        break;
    case US_OP_FLUSH:
        c.flushes.add(1);
        break;
    case US_OP_DISCARD:
    case US_OP_WRITE_ZEROES:
        c.discards.add(1);
        break;
    case US_OP_CACHE:
        break;
    }
    if (error == 0) return;
    if (error == -EOPNOTSUPP && (op.io.flags & IO_FAST_ONLY)) return; // an answer, not a failure
    op.queue->graph().count_error(op.leaf->config().index, -error);
    log_io_error(op.leaf->config().name, op.leaf->path(), op_name(op.io.op), op.io.offset + op.good,
                 op.io.length - op.good, -error);
}

enum class Next { again, ended };

SyncOrder &order_of(const LeafOp &op) {
    return op.queue->graph().impl().sync_orders[op.leaf->config().index];
}

Next fail(LeafOp &op, int32_t result, int32_t &error) {
    if (op.io.durable()) op.queue->graph().sync_failed(op.leaf->config().index);
    error = result;
    return Next::ended;
}

// Media that grow read zeros behind their end, to which a direct read cannot ask for the rest again.
bool reads_past_end(const LeafOp &op) {
    return op.io.op == US_OP_READ && op.leaf->grows() && op.io.buffer.data &&
           op.io.offset + op.good >= op.leaf->length();
}

// Takes the result of one step.
Next advance(LeafOp &op, int64_t result, int32_t &error) {
    error = 0;
    if (result == -EINTR || result == -EAGAIN) {
        if (++op.retries <= MAX_RETRIES) return Next::again;
        return fail(op, -EIO, error);
    }
    bool zeroing = op.io.op == US_OP_DISCARD || op.io.op == US_OP_WRITE_ZEROES;
    if (result == -EOPNOTSUPP && zeroing && !op.zero_fill && !(op.io.flags & IO_FAST_ONLY)) {
        op.zero_fill = true;
        return Next::again;
    }
    if (result < 0) return fail(op, static_cast<int32_t>(result), error);
    if (!moves_data(op)) {
        op.good = op.io.length;
        return Next::ended;
    }
    op.good += static_cast<uint64_t>(result);
    if (op.good == op.io.length) return Next::ended;
    if (reads_past_end(op)) {
        memset(op.io.buffer.data + op.good, 0, op.io.length - op.good);
        op.good = op.io.length;
        return Next::ended;
    }
    // Nothing more inside of the layer: the file was truncated underneath, or the media ended early.
    if (result == 0) return fail(op, -EIO, error);
    return Next::again;
}

bool step(LeafOp &op, int32_t &error);

void conclude(LeafOp &op, int32_t error) {
    count(op, error);
    op.ended(op, error);
}

// What failed has been told to the leaf. What succeeded waits for all that may yet fail in its place.
void end_in_order(LeafOp &op, int32_t error) {
    SyncOrder &order = order_of(op);
    for (LeafOp *held : order.end(op.sync_ticket))
        held->queue->post([held] { conclude(*held, held->leaf->sync_error()); });
    if (error == 0 && order.hold(op)) return;
    conclude(op, error == 0 ? op.leaf->sync_error() : error);
}

void completed(Completion &self, int32_t result, uint32_t) {
    auto &op = static_cast<LeafOp &>(self);
    int32_t error = 0;
    if (advance(op, result, error) == Next::again && step(op, error)) return;
    if (op.sync_ticket)
        end_in_order(op, error);
    else
        conclude(op, error);
}

// Inline steps until one goes to the ring (true) or the operation has ended (false).
bool step(LeafOp &op, int32_t &error) {
    for (;;) {
        LeafIo io = rest(op);
        if (!op.leaf->runs_inline(io)) {
            op.fn = completed;
            if (op.io.durable() && op.sync_ticket == 0 && op.leaf->remembers_sync_failures())
                op.sync_ticket = order_of(op).begin();
            op.leaf->prepare(op.queue->prepare(op), op.queue->impl().file_index(op.leaf->config().index), io);
            return true;
        }
        if (advance(op, op.leaf->run(io), error) == Next::ended) return false;
    }
}

} // namespace

bool start_leaf_op(LeafOp &op, int32_t &error) {
    op.good = 0;
    op.retries = 0;
    op.zero_fill = false;
    op.sync_ticket = 0;
    error = 0;
    if (us_op_writes(op.io.op) && op.leaf->config().read_only) error = -EROFS;
    if (op.io.op == US_OP_FLUSH) {
        if (op.leaf->config().read_only) return false; // nothing was written
        error = op.leaf->sync_error();
    }
    if (error == 0 && op.io.failed_sync && op.io.durable())
        error = op.io.failed_sync->of(op.leaf->config().index);
    if (error == 0 && step(op, error)) return true;
    count(op, error);
    return false;
}

} // namespace us
