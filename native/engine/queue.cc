// Client requests on the fast path: walk, place the pieces, gather the results.
//
//     submit ──walk──▶ piece, piece, …            one SQE each, or done on the spot
//                 └──▶ redirect, failed piece     the request turns careful: once all pieces have ended,
//                 execute.cc
//                                                 carries it out again, step by step
#include "engine/queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "engine/graph.h"
#include "engine/graph_impl.h"
#include "engine/queue_impl.h"

namespace us {

namespace {

// A request may go to many children at once; more pieces than these just wait for one another.
constexpr uint32_t PIECES_PER_REQUEST = 4, MIN_PIECES = 256;

bool moves_data(us_op op) {
    return op == US_OP_READ || op == US_OP_WRITE;
}

IoBuffer buffer_of(const Request &request, uint64_t offset) {
    if (!moves_data(request.op)) return {};
    return IoBuffer{request.buffer.data, request.buffer.fixed_index, 0}.at(offset);
}

bool valid(const Graph &graph, const Request &r, uint32_t depth) {
    const us_table &table = graph.table();
    if (r.root >= table.nr_layers || r.op > US_OP_CACHE || r.tag >= depth) return false;
    if (r.op == US_OP_FLUSH) return r.offset == 0 && r.length == 0;
    uint64_t size = table.layers[r.root].size, block = graph.geometry(r.root).logical_block;
    return r.length > 0 && r.offset <= size && r.length <= size - r.offset &&
           (r.offset | r.length) % block == 0;
}

} // namespace

Queue::Impl::Impl(Queue &owner, Graph &graph, const QueueOptions &options)
    : queue(owner), graph(graph), options(options), counters(std::make_shared<QueueCounters>()),
      executor(owner) {
    LiveFile *file = graph.impl().live_file.get();
    const DeviceConfig &config = graph.impl().config;
    if (file && (config.has_mirror || config.has_format)) {
        tracks_reads = config.has_format;
        inflight = &file->inflight();
        first_slot = file->request_slot(options.index, 0);
    }
    pieces.resize(std::max(MIN_PIECES, options.depth * PIECES_PER_REQUEST));
    for (Piece &piece : pieces)
        give_piece(&piece);
    set_up_ring();
    try {
        register_resources();
        wake_fd = eventfd(0, EFD_CLOEXEC);
        if (wake_fd < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    } catch (...) {
        io_uring_queue_exit(&ring);
        throw;
    }
    graph.impl().add_queue(options.index, counters);
}

Queue::Impl::~Impl() {
    graph.impl().queue_ends(queue);
    io_uring_queue_exit(&ring);
    close(wake_fd);
}

Piece *Queue::Impl::take_piece() {
    Piece *piece = free_pieces;
    if (piece) free_pieces = piece->next_free;
    return piece;
}

void Queue::Impl::give_piece(Piece *piece) {
    piece->next_free = free_pieces;
    free_pieces = piece;
}

void Queue::Impl::submit(Request &request) {
    busy++;
    begun++;
    counters->in_flight.add(1);
    request.error = 0;
    request.good_bytes = request.length;
    request.failed_piece = request.redirected = request.flushing = false;
    if (!valid(graph, request, options.depth)) {
        request.error = -EINVAL;
        request.good_bytes = 0;
        report(request);
        return;
    }
    if (tracked(request))
        inflight->publish(first_slot + request.tag, request.root, request.op, request.offset, request.length);
    us_walk_begin(&request.walk, request.root, request.op, request.offset, request.length);
    request.walking = true;
    request.pending = 1; // the walk itself
    walk(request);
}

void Queue::Impl::walk(Request &request) {
    us_piece piece;
    while (request.walking) {
        switch (us_walk_next(&request.walk, &graph.table(), &graph.live(), graph.words(), &piece)) {
        case US_WALK_PIECE:
            if (!place(request, piece)) return;
            break;
        case US_WALK_END:
            request.walking = false;
            break;
        case US_WALK_REDIRECT:
            request.redirected = true;
            request.walking = false;
            break;
        case US_WALK_ON: // of single passes alone
        case US_WALK_BAD:
            request.failed_piece = true;
            request.error = -EIO;
            request.good_bytes = 0;
            request.walking = false;
            break;
        }
    }
    if (--request.pending == 0) settle_request(request);
}

bool Queue::Impl::place(Request &request, const us_piece &piece) {
    Piece *p = take_piece();
    if (!p) { // goes on with this very piece later
        us_walk_push(&request.walk, piece.layer, piece.offset, piece.length, piece.buffer);
        request.next_waiting = nullptr;
        (waiting_last ? waiting_last->next_waiting : waiting_first) = &request;
        waiting_last = &request;
        return false;
    }
    p->request = &request;
    p->buffer = piece.buffer;
    p->queue = &queue;
    p->leaf = graph.impl().leaves[piece.layer];
    p->io = {request.walk_op(),
             leaf_flags(request),
             piece.offset,
             piece.length,
             buffer_of(request, piece.buffer),
             &request.failed_sync};
    p->ended = [](LeafOp &op, int32_t error) {
        auto &piece = static_cast<Piece &>(op);
        Impl &impl = op.queue->impl();
        Request &request = *piece.request;
        impl.piece_ended(request, op, piece.buffer, error);
        impl.give_piece(&piece);
        if (--request.pending == 0) impl.settle_request(request);
    };
    int32_t error = 0;
    if (start_leaf_op(*p, error)) {
        request.pending++;
        return true;
    }
    piece_ended(request, *p, piece.buffer, error);
    give_piece(p);
    return true;
}

void Queue::Impl::piece_ended(Request &request, const LeafOp &op, uint64_t buffer, int32_t error) {
    if (error == 0) return;
    if (op.io.durable()) request.failed_sync.add(op.leaf->config().index, error);
    uint64_t good = request.op == US_OP_FLUSH || request.flushing ? 0 : buffer + op.good;
    if (request.failed_piece && good >= request.good_bytes) return;
    request.failed_piece = true;
    request.error = error;
    request.good_bytes = good;
}

// All pieces have ended, and the walk too.
void Queue::Impl::settle_request(Request &request) {
    if (request.redirected || (request.failed_piece && may_do_without(request))) {
        detach(carefully(request));
        return;
    }
    if (request.error == 0 && needs_flush(request) && !request.flushing) {
        request.flushing = true;
        us_walk_begin(&request.walk, request.root, US_OP_FLUSH, 0, 0);
        request.walking = true;
        request.pending = 1;
        walk(request);
        return;
    }
    finish(request);
}

// The whole request again, from its root, with every failure looked at where it happens.
Task<void> Queue::Impl::carefully(Request &request) {
    Run run;
    if (tracked(request)) {
        run = {inflight, first_slot + request.tag};
        inflight->turn_careful(run.slot);
    }
    IoResult result;
    if (!request.flushing) {
        LeafIo io{request.op,     leaf_flags(request),   request.offset,
                  request.length, buffer_of(request, 0), &request.failed_sync};
        result = co_await executor.execute(request.root, io, run);
    }
    if (result.error == 0 && (request.flushing || needs_flush(request))) {
        LeafIo flush;
        flush.op = US_OP_FLUSH;
        flush.failed_sync = &request.failed_sync;
        result = co_await executor.execute(request.root, flush, run);
        result.good = result.error == 0 ? request.length : 0;
    }
    request.error = result.error;
    request.good_bytes = result.good;
    finish(request);
}

// Only data can be written through: zeros made by the media need a flush to be durable, and so do the tables
// of a format.
bool Queue::Impl::needs_flush(const Request &request) const {
    bool zeroes = request.op == US_OP_DISCARD || request.op == US_OP_WRITE_ZEROES;
    return (request.flags & REQUEST_FUA) && (zeroes || graph.durable_by_flush(request.root));
}

uint32_t Queue::Impl::leaf_flags(const Request &request) const {
    return needs_flush(request) ? request.flags & ~uint32_t{REQUEST_FUA} : request.flags;
}

// What has failed may go well another way: a mirror's other member, or what a format's handler knows.
bool Queue::Impl::may_do_without(const Request &request) const {
    return graph.impl().config.has_mirror || graph.durable_by_flush(request.root);
}

bool Queue::Impl::tracked(const Request &request) const {
    return inflight && (us_op_writes(request.op) || (tracks_reads && request.op == US_OP_READ));
}

void Queue::Impl::finish(Request &request) {
    if (tracked(request)) inflight->clear(first_slot + request.tag);
    report(request);
}

void Queue::Impl::report(Request &request) {
    busy--;
    counters->in_flight.subtract(1);
    counters->requests.add(1);
    if (moves_data(request.op)) counters->bytes.add(request.good_bytes);
    request.failed_sync = {};
    request.done(request);
}

void Queue::Impl::resume_waiting() {
    while (waiting_first && free_pieces) {
        Request *request = waiting_first;
        waiting_first = request->next_waiting;
        if (!waiting_first) waiting_last = nullptr;
        walk(*request);
    }
}

Queue::Queue(Graph &graph, const QueueOptions &options)
    : impl_(std::make_unique<Impl>(*this, graph, options)) {
    impl_->arm_wake();
}

Queue::~Queue() = default;

void Queue::run() {
    impl_->run_until([this] { return impl_->has_ended(); });
}

void Queue::stop() {
    std::lock_guard lock(impl_->posted_mutex); // as in post()
    impl_->stopping.store(true, std::memory_order_release);
    impl_->wake();
}

void Queue::post(std::function<void()> fn) {
    // Woken under the lock: `fn` may be what ends the loop, and then the queue must outlive this call.
    // Whoever has posted what still waits has woken it.
    std::lock_guard lock(impl_->posted_mutex);
    impl_->posted.push_back(std::move(fn));
    if (impl_->posted.size() == 1) impl_->wake();
}

void Queue::forget(const Request &request) {
    if (impl_->tracked(request)) impl_->inflight->clear(impl_->first_slot + request.tag);
}

void Queue::submit(Request &request) {
    impl_->submit(request);
}

io_uring_sqe *Queue::prepare(Completion &completion) {
    io_uring_sqe *sqe = io_uring_get_sqe(&impl_->ring);
    while (!sqe) {
        int result = io_uring_submit(&impl_->ring);
        impl_->counters->enters.add(1);
        if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY)
            throw std::system_error(-result, std::generic_category(), "io_uring_enter");
        sqe = io_uring_get_sqe(&impl_->ring);
    }
    sqe->user_data = reinterpret_cast<uintptr_t>(&completion);
    return sqe;
}

uint32_t Queue::frontend_file() const {
    return impl_->frontend_file;
}
io_uring &Queue::ring() {
    return impl_->ring;
}
Graph &Queue::graph() {
    return impl_->graph;
}
uint32_t Queue::index() const {
    return impl_->options.index;
}
QueueCounters &Queue::counters() {
    return *impl_->counters;
}

} // namespace us
