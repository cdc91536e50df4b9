// Careful reads, writes and flushes of a mirror: every member by itself, and those that fail are dropped
// before anybody is told that the operation succeeded.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "core/mirror.h"
#include "targets/mirror/mirror.h"

namespace us {

namespace {

const char *verb(us_op op) {
    constexpr const char *names[] = {"read", "write", "flush", "discard", "write zeroes", "read ahead"};
    return names[op];
}

std::string describe(const LeafIo &io, int32_t error) {
    std::string text = std::string(verb(io.op)) + " failed: " + strerror(-error);
    if (io.op != US_OP_FLUSH) text += " at offset " + std::to_string(io.offset);
    return text;
}

} // namespace

Task<IoResult> MirrorTarget::execute(Executor &executor, LeafIo io, const Run &run) {
    if (io.op == US_OP_CACHE) co_return IoResult{0, io.length}; // advice, and nobody is to be dropped for it
    IoResult result{};
    if (io.op == US_OP_READ)
        result = co_await read(executor, io, run);
    else
        result = co_await change(executor, io, run);
    co_return result;
}

Task<IoResult> MirrorTarget::read(Executor &executor, LeafIo io, const Run &run) {
    uint64_t done = 0;
    while (done < io.length) {
        LeafIo piece = io;
        piece.offset += done;
        piece.length = io.length - done;
        piece.buffer = io.buffer.at(done);
        uint64_t boundary = (piece.offset | ((1ULL << US_MIRROR_BALANCE_SHIFT) - 1)) + 1;
        piece.length = std::min(piece.length, boundary - piece.offset);
        IoResult result = co_await read_piece(executor, piece, run);
        done += result.good;
        if (result.error != 0) co_return IoResult{result.error, done};
    }
    co_return IoResult{0, io.length};
}

// One member after the other until one can; then those that could not are dropped.
Task<IoResult> MirrorTarget::read_piece(Executor &executor, LeafIo io, const Run &run) {
    uint32_t failed = 0;
    IoResult first{-EIO, 0};
    for (;;) {
        uint32_t choices = readable() & ~failed;
        if (choices == 0) co_return first;
        uint32_t pick = us_mirror_hash(io.offset) % us_mirror_count(choices);
        uint32_t child = us_mirror_nth(choices, pick);
        IoResult result = co_await executor.execute(child_layer(child), io, run);
        if (result.error == 0) {
            // Reading is possible whether or not the failures can be recorded: nothing depends on it.
            if (failed) co_await drop_members(executor, failed, io, first.error);
            co_return result;
        }
        if (failed == 0) first = result;
        failed |= 1u << child;
    }
}

// Waits until this mirror lets writes to [start, end) through, and is inside then. 0, or -errno when the
// mirror cannot be marked dirty.
Task<int> MirrorTarget::enter_for_writing(Executor &executor, uint64_t start, uint64_t end, const Run &run) {
    for (;;) {
        run.enter(index());
        bool open = gate_open();
        if (open && !window_overlaps(start, end)) co_return 0;
        run.leave(index());
        if (open) {
            co_await wait_for_window(executor, start, end);
            continue;
        }
        std::function<int()> job = [this] { return open_gate(); };
        int error = co_await executor.offload(std::move(job));
        if (error != 0) co_return -EIO;
    }
}

Task<void> MirrorTarget::wait_for_window(Executor &executor, uint64_t start, uint64_t end) {
    struct Awaiter {
        MirrorTarget &mirror;
        Executor &executor;
        uint64_t start, end;

        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> handle) const {
            std::lock_guard lock(mirror.mutex_);
            if (!mirror.window_overlaps(start, end)) return false;
            mirror.waiting_.push_back({start, end, handle, &executor});
            return true;
        }
        void await_resume() const noexcept {}
    };
    Awaiter awaiter{*this, executor, start, end};
    co_await awaiter;
}

Task<IoResult> MirrorTarget::change(Executor &executor, LeafIo io, const Run &run) {
    int error = 0;
    if (io.op != US_OP_FLUSH)
        error = co_await enter_for_writing(executor, io.offset, io.offset + io.length, run);
    else if (std::atomic_ref<uint32_t>(context_.live->gate).load() & US_LIVE_UNRECORDED) {
        // What a flush makes durable, a member that is not known to have failed must not take back.
        std::function<int()> job = [this] { return record_failures() == 0 ? 0 : -EIO; };
        error = co_await executor.offload(std::move(job));
    }
    if (error != 0) co_return IoResult{error, 0};
    IoResult result = co_await to_members(executor, io, run);
    if (io.op != US_OP_FLUSH) run.leave(index());
    co_return result;
}

Task<IoResult> MirrorTarget::to_members(Executor &executor, LeafIo io, const Run &run) {
    uint32_t members = writable();
    std::vector<Task<IoResult>> tasks;
    for (uint32_t c = 0; c < config().children.size(); c++)
        if (members >> c & 1) tasks.push_back(executor.execute(child_layer(c), io, run));
    std::vector<IoResult> results = co_await all(std::move(tasks));

    uint32_t failed = 0, refused = 0;
    IoResult first_current{0, io.length}, first_failed{0, 0};
    uint32_t current = readable() & members;
    size_t next = 0;
    bool current_seen = false;
    for (uint32_t c = 0; c < config().children.size(); c++) {
        if (!(members >> c & 1)) continue;
        IoResult result = results[next++];
        if (!current_seen && (current >> c & 1)) {
            current_seen = true;
            first_current = result;
        }
        if (result.error == 0) continue;
        if (failed == 0) first_failed = result;
        failed |= 1u << c;
        if (result.error == -EOPNOTSUPP) refused |= 1u << c;
    }
    if (failed == 0) co_return IoResult{0, io.length};
    if (refused && (io.flags & IO_FAST_ONLY)) {
        // Not a failure of a member. But unless nothing at all was done, they differ now, and must not stay
        // so.
        bool untouched = refused == members;
        for (uint32_t c = 0; c < config().children.size(); c++)
            if ((members >> c & 1) && !context_.members[c].single_leaf) untouched = false;
        if (untouched) co_return IoResult{-EOPNOTSUPP, 0};
        io.flags &= ~IO_FAST_ONLY;
        IoResult again = co_await to_members(executor, io, run);
        co_return again;
    }
    if (current & ~failed) {
        int error = co_await drop_members(executor, failed, io, first_failed.error);
        if (error != 0) co_return IoResult{-EIO, 0};
        co_return IoResult{0, io.length};
    }
    co_await keep_only_first(executor, io, first_current.error);
    co_return first_current;
}

Task<int> MirrorTarget::drop_members(Executor &executor, uint32_t members, LeafIo io, int32_t error) {
    std::string reason = describe(io, error);
    std::function<int()> job = [this, members, reason] { return drop(members, reason); };
    int result = co_await executor.offload(std::move(job));
    co_return result;
}

// No current member took the change whole, and each may have taken another part of it: one stays, and its
// answer is the mirror's, as md does.
Task<int> MirrorTarget::keep_only_first(Executor &executor, LeafIo io, int32_t error) {
    uint32_t current = readable();
    uint32_t others = writable() & ~(current & -current);
    if (others == 0) co_return 0;
    std::string reason = "no member is known to be whole after a failure: " + describe(io, error);
    std::function<int()> job = [this, others, reason] { return drop(others, reason); };
    int result = co_await executor.offload(std::move(job));
    co_return result;
}

} // namespace us
