#include "engine/queue_executor.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/map.h"
#include "engine/graph_impl.h"
#include "engine/offload.h"
#include "engine/queue_impl.h"
#include "targets/format.h"
#include "targets/instrument.h"

namespace us {

namespace {

struct LeafAwaiter : LeafOp {
    std::coroutine_handle<> waiter;
    int32_t error = 0;

    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> caller) {
        waiter = caller;
        ended = [](LeafOp &op, int32_t result) {
            auto &self = static_cast<LeafAwaiter &>(op);
            self.error = result;
            self.waiter.resume();
        };
        return start_leaf_op(*this, error);
    }
    IoResult await_resume() const noexcept { return {error, good}; }
};

struct OffloadAwaiter {
    Queue &queue;
    std::function<int()> fn;
    int result = 0;

    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
        queue.graph().impl().offload->submit([this, caller] {
            result = fn();
            queue.post([caller] { caller.resume(); });
        });
    }
    int await_resume() const noexcept { return result; }
};

bool needs_bytes(Target &target) {
    return target.format() || (target.instrument() && target.instrument()->needs_bytes());
}

} // namespace

QueueExecutor::QueueExecutor(Queue &queue) : queue_(queue), bounce_(queue) {
    of_this_thread = this;
}

QueueExecutor::~QueueExecutor() {
    if (of_this_thread == this) of_this_thread = nullptr;
}

// Past images that are only read and have said where this lies: nothing of that is ever taken back.
void QueueExecutor::pass_read_only(uint32_t &layer, LeafIo &io) {
    Graph &graph = queue_.graph();
    const us_table &table = graph.table();
    while (io.op == US_OP_READ) {
        Target &target = *graph.impl().targets[layer];
        if (!target.format() || !target.config().read_only) return;
        us_step step = us_map(&table, &graph.live(), graph.words(), layer, io.op, io.offset, io.length);
        if (step.disposition == US_REDIRECT || step.nr_children != 1 || step.n != io.length) return;
        layer = table.links[table.layers[layer].first_link + step.first_child].layer;
        io.offset = step.offset;
    }
}

Task<IoResult> QueueExecutor::execute(uint32_t layer, LeafIo io, const Run &run) {
    pass_read_only(layer, io);
    Target &target = *queue_.graph().impl().targets[layer];
    if (target.leaf()) return execute_leaf(layer, io);
    if (Handler *handler = target.handler()) {
        bool moves_data = io.op == US_OP_READ || io.op == US_OP_WRITE;
        if (moves_data && !io.buffer.data && needs_bytes(target)) return execute_bounced(layer, io, run);
        return handler->execute(*this, io, run);
    }
    if (io.op == US_OP_FLUSH) return flush_children(layer, io, run);
    return execute_mapping(layer, io, run);
}

Task<IoResult> QueueExecutor::execute_leaf(uint32_t layer, LeafIo io) {
    LeafAwaiter op;
    op.queue = &queue_;
    op.leaf = queue_.graph().impl().leaves[layer];
    op.io = io;
    IoResult result = co_await op;
    co_return result;
}

// For a layer that has to see bytes which lie in the kernel: what an instrument does not look at passes
// without them.
Task<IoResult> QueueExecutor::execute_bounced(uint32_t layer, LeafIo io, const Run &run) {
    Graph &graph = queue_.graph();
    Target &target = *graph.impl().targets[layer];
    us_step step = us_map(&graph.table(), &graph.live(), nullptr, layer, io.op, io.offset, io.length);
    if (step.disposition != US_REDIRECT) { // no format's, which has no words here
        IoResult passed = co_await execute(target.config().children[0], io, run);
        co_return passed;
    }
    Bounce::Place place = bounce_.take();
    if (place.error != 0) co_return IoResult{place.error, 0};
    LeafIo seen = io;
    seen.buffer = IoBuffer{place.data, -1, 0};
    int error = io.op == US_OP_WRITE ? co_await bounce_.fetch(io, place) : 0;
    IoResult result{error, 0};
    if (error == 0) result = co_await target.handler()->execute(*this, seen, run);
    if (io.op == US_OP_READ && result.good > 0) {
        error = co_await bounce_.put_back(io, result.good, place);
        if (error != 0) result = {error, 0};
    }
    bounce_.give(place);
    co_return result;
}

// Piece after piece, so that a failure leaves a known prefix behind.
Task<IoResult> QueueExecutor::execute_mapping(uint32_t layer, LeafIo io, const Run &run) {
    Graph &graph = queue_.graph();
    const us_table &table = graph.table();
    uint64_t done = 0;
    while (done < io.length) {
        us_step step =
            us_map(&table, &graph.live(), nullptr, layer, io.op, io.offset + done, io.length - done);
        if (step.disposition == US_REDIRECT || step.nr_children != 1 || step.n == 0)
            co_return IoResult{-EIO, done};
        LeafIo piece = io;
        piece.offset = step.offset;
        piece.length = step.n;
        piece.buffer = io.buffer.at(done);
        uint32_t child = table.links[table.layers[layer].first_link + step.first_child].layer;
        IoResult result = co_await execute(child, piece, run);
        done += result.good;
        if (result.error != 0) co_return IoResult{result.error, done};
    }
    co_return IoResult{0, io.length};
}

// Every child, whatever becomes of the others.
Task<IoResult> QueueExecutor::flush_children(uint32_t layer, LeafIo io, const Run &run) {
    const std::vector<uint32_t> &children = queue_.graph().impl().targets[layer]->config().children;
    std::vector<Task<IoResult>> tasks;
    for (uint32_t child : children)
        tasks.push_back(execute(child, io, run));
    std::vector<IoResult> results = co_await all(std::move(tasks));
    for (const IoResult &result : results)
        if (result.error != 0) co_return result;
    co_return IoResult{};
}

Task<int> QueueExecutor::offload(std::function<int()> fn) {
    OffloadAwaiter awaiter{queue_, std::move(fn)};
    int result = co_await awaiter;
    co_return result;
}

void QueueExecutor::spawn(Task<void> work) {
    detach(counted(std::move(work)));
}

Task<void> QueueExecutor::counted(Task<void> work) {
    queue_.impl().busy++;
    co_await work;
    queue_.impl().busy--;
}

struct QueueExecutor::Pausing {
    QueueExecutor &executor;
    Clock::time_point end;
    const void *alarm;
    bool await_ready() const noexcept { return executor.stopping(); }
    void await_suspend(std::coroutine_handle<> caller) const { executor.begin_pause(end, {caller, alarm}); }
    void await_resume() const noexcept {}
};

void QueueExecutor::begin_pause(Clock::time_point end, const Pause &pause) {
    auto place = pauses_.emplace(end, pause);
    if (pause.alarm) alarms_.insert_or_assign(pause.alarm, place);
}

Task<bool> QueueExecutor::pause(uint64_t nanoseconds) {
    Pausing pausing{*this, Clock::now() + std::chrono::nanoseconds(nanoseconds), nullptr};
    co_await pausing;
    co_return !stopping();
}

Task<bool> QueueExecutor::pause_until(uint64_t end, const void *alarm) {
    constexpr uint64_t LATEST = INT64_MAX; // centuries from now
    Pausing pausing{*this, Clock::time_point(std::chrono::nanoseconds(std::min(end, LATEST))), alarm};
    co_await pausing;
    co_return !stopping();
}

void QueueExecutor::ring(const void *alarm) {
    queue_.post([this, alarm] {
        auto found = alarms_.find(alarm);
        if (found == alarms_.end()) return;
        auto handle = found->second->second.handle;
        pauses_.erase(found->second);
        alarms_.erase(found);
        handle.resume();
    });
}

void QueueExecutor::resume_later(std::coroutine_handle<> handle) {
    queue_.post([handle] { handle.resume(); });
}

bool QueueExecutor::stopping() const {
    return queue_.impl().stopping.load(std::memory_order_acquire);
}

int64_t QueueExecutor::next_pause_end() const {
    if (pauses_.empty()) return -1;
    auto left = std::chrono::nanoseconds(pauses_.begin()->first - Clock::now()).count();
    return std::max<int64_t>(left, 0);
}

void QueueExecutor::end_pauses() {
    if (pauses_.empty()) return;
    auto end = stopping() ? pauses_.end() : pauses_.upper_bound(Clock::now());
    std::vector<std::coroutine_handle<>> over;
    for (auto it = pauses_.begin(); it != end; ++it) {
        over.push_back(it->second.handle);
        if (it->second.alarm) alarms_.erase(it->second.alarm);
    }
    pauses_.erase(pauses_.begin(), end);
    for (auto handle : over)
        handle.resume();
}

} // namespace us
