// Background work of a mirror: copying to members that are behind, and marking clean when idle.
//
//     0 ........ position ▓▓▓ window ▓▓▓ ............................ size
//        copied            being copied     not yet
//
// Writes go to a member that is behind everywhere. Only in the window could a copy of old bytes overtake
// them: there they wait until it has moved on. A new window is copied after a grace period, when every writer
// that had not yet seen it, or not yet seen the member, has ended.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "core/mirror.h"
#include "targets/grace.h"
#include "targets/mirror/mirror.h"

namespace us {

namespace {

constexpr uint64_t PART_BYTES = 1 << US_MIRROR_BALANCE_SHIFT, WINDOW_BYTES = BACKGROUND_SLOTS * PART_BYTES;
constexpr uint64_t RUN_BYTES = PART_BYTES / 16; // zeros are looked for in runs of this size
constexpr uint64_t RETRY_NS = 1'000'000'000;

// Memory that direct IO takes.
class AlignedBuffer {
  public:
    explicit AlignedBuffer(size_t bytes) : data_(static_cast<std::byte *>(aligned_alloc(4096, bytes))) {
        if (!data_) throw std::bad_alloc();
    }
    ~AlignedBuffer() { free(data_); }
    AlignedBuffer(const AlignedBuffer &) = delete;
    AlignedBuffer &operator=(const AlignedBuffer &) = delete;
    std::byte *data() const { return data_; }

  private:
    std::byte *data_;
};

bool all_zero(const std::byte *data, uint64_t length) {
    return data[0] == std::byte{0} && memcmp(data, data + 1, length - 1) == 0;
}

} // namespace

uint32_t MirrorTarget::syncing() const {
    std::lock_guard lock(mutex_);
    return set_of(MemberState::syncing);
}

void MirrorTarget::start_background(Executor &) {
    if (config().read_only) return;
    want_resync();
    want_cleaning();
}

void MirrorTarget::want_resync() {
    context_.on_background_queue([this](Executor &executor) {
        if (resyncing_ || !syncing()) return;
        resyncing_ = true;
        executor.spawn(resync(executor));
    });
}

Task<void> MirrorTarget::resync(Executor &executor) {
    while (begin_pass()) {
        bool passed = co_await resync_pass(executor);
        if (passed) continue;
        bool goes_on = co_await executor.pause(RETRY_NS);
        if (!goes_on) break;
    }
    move_window(0, 0);
    resyncing_ = false;
}

// All that are behind from here on; the position, if it does not hold for each of them, from the start.
uint32_t MirrorTarget::begin_pass() {
    std::lock_guard lock(mutex_);
    uint32_t targets = set_of(MemberState::syncing);
    std::atomic_ref<uint32_t> members(context_.resync->members);
    std::atomic_ref<uint64_t> position(context_.resync->position);
    if (targets & ~members.load()) position = 0;
    members = targets;
    return targets;
}

// Those of the pass that have taken part in it without a break.
uint32_t MirrorTarget::copying() const {
    std::lock_guard lock(mutex_);
    return set_of(MemberState::syncing) & std::atomic_ref<uint32_t>(context_.resync->members).load();
}

// Copies everything. False when it has to stop, or cannot put on record what came of it.
Task<bool> MirrorTarget::resync_pass(Executor &executor) {
    std::atomic_ref<uint64_t> position(context_.resync->position);
    while (position < config().size) {
        uint32_t targets = copying();
        if (targets == 0) co_return true;
        if (executor.stopping()) co_return false;
        uint64_t start = position, end = std::min(start + WINDOW_BYTES, config().size);
        move_window(start, end);
        bool safe = co_await grace(executor);
        if (!safe) co_return false;
        int error = co_await copy_window(executor, targets, start, end);
        if (error != 0) co_return false;
        position = end;
    }
    move_window(0, 0);
    int error = co_await flush_targets(executor, copying());
    if (error != 0) co_return false;
    std::function<int()> job = [this] { return finish_sync(); };
    error = co_await executor.offload(std::move(job));
    co_return error == 0;
}

// -errno when a member had to be dropped and that could not be recorded.
Task<int> MirrorTarget::copy_window(Executor &executor, uint32_t targets, uint64_t start, uint64_t end) {
    AlignedBuffer buffer(WINDOW_BYTES);
    std::vector<Task<IoResult>> parts;
    for (uint64_t offset = start; offset < end; offset += PART_BYTES) {
        uint32_t nth = static_cast<uint32_t>(parts.size());
        LeafIo io;
        io.offset = offset;
        io.length = std::min(PART_BYTES, end - offset);
        io.buffer.data = buffer.data() + nth * PART_BYTES;
        parts.push_back(copy_part(executor, targets, io, context_.own_slots + nth));
    }
    std::vector<IoResult> results = co_await all(std::move(parts));
    for (const IoResult &result : results)
        if (result.error != 0) co_return result.error;
    co_return 0;
}

Task<IoResult> MirrorTarget::copy_part(Executor &executor, uint32_t targets, LeafIo io, uint32_t slot) {
    // Published: a mirror below a target must know of this writer too.
    Run run{context_.inflight, slot};
    context_.inflight->publish(slot, index(), US_OP_WRITE, io.offset, io.length);
    context_.inflight->turn_careful(slot);
    io.op = US_OP_READ;
    IoResult result = co_await read(executor, io, run);
    int error = 0;
    if (result.error != 0) {
        error = co_await drop_members(executor, targets, io, result.error);
    } else {
        uint64_t at = 0;
        while (error == 0 && at < io.length) {
            bool zeros = all_zero(io.buffer.data + at, std::min(RUN_BYTES, io.length - at));
            uint64_t end = at;
            do
                end += std::min(RUN_BYTES, io.length - end);
            while (end < io.length &&
                   all_zero(io.buffer.data + end, std::min(RUN_BYTES, io.length - end)) == zeros);
            LeafIo part;
            part.op = zeros ? US_OP_WRITE_ZEROES : US_OP_WRITE;
            part.offset = io.offset + at;
            part.length = end - at;
            if (!zeros) part.buffer = io.buffer.at(at);
            error = co_await write_targets(executor, targets, part, run);
            at = end;
        }
    }
    context_.inflight->clear(slot);
    co_return IoResult{error, 0};
}

// To each target by itself; those that fail are dropped.
Task<int> MirrorTarget::write_targets(Executor &executor, uint32_t targets, LeafIo io, const Run &run) {
    std::vector<Task<IoResult>> tasks;
    std::vector<uint32_t> children;
    for (uint32_t c = 0; c < config().children.size(); c++) {
        if (!(targets & writable() & 1u << c)) continue;
        tasks.push_back(executor.execute(child_layer(c), io, run));
        children.push_back(c);
    }
    std::vector<IoResult> results = co_await all(std::move(tasks));
    for (size_t i = 0; i < results.size(); i++) {
        if (results[i].error == 0) continue;
        int error = co_await drop_members(executor, 1u << children[i], io, results[i].error);
        if (error != 0) co_return error;
    }
    co_return 0;
}

Task<int> MirrorTarget::flush_targets(Executor &executor, uint32_t targets) {
    LeafIo flush;
    flush.op = US_OP_FLUSH;
    Run nobody;
    int error = co_await write_targets(executor, targets, flush, nobody);
    co_return error;
}

// True once nobody acts any more on live words of before the call; false when the queue stops.
Task<bool> MirrorTarget::grace(Executor &executor) {
    bool passed = co_await us::grace(executor, *context_.inflight, index(), Inflight::Of::writes);
    co_return passed;
}

void MirrorTarget::want_cleaning() {
    context_.on_background_queue([this](Executor &executor) {
        bool dirty;
        {
            std::lock_guard lock(mutex_);
            dirty = record_.dirty;
        }
        if (cleaning_ || !dirty) return;
        cleaning_ = true;
        executor.spawn(clean_when_idle(executor));
    });
}

Task<void> MirrorTarget::clean_when_idle(Executor &executor) {
    for (bool clean = false; !clean;) {
        uint64_t before = context_.inflight->published();
        bool goes_on = co_await executor.pause(context_.clean_after_ns);
        if (!goes_on || context_.resync->unsettled) break;
        // While members are behind, an unclean end costs nothing more than they do anyway.
        if (syncing() || context_.inflight->published() != before) continue;
        clean = co_await flush_and_mark_clean(executor);
    }
    cleaning_ = false;
}

Task<bool> MirrorTarget::flush_and_mark_clean(Executor &executor) {
    uint64_t epoch;
    {
        std::lock_guard lock(mutex_);
        epoch = epoch_;
        std::atomic_ref<uint32_t>(context_.live->gate).fetch_and(~US_LIVE_WRITE_OPEN);
    }
    // Whatever is in flight, wherever it is: what a member could not take, the others may have taken already.
    if (!context_.inflight->busy().empty()) co_return false;
    LeafIo flush;
    flush.op = US_OP_FLUSH;
    Run nobody;
    IoResult result = co_await change(executor, flush, nobody);
    if (result.error != 0) co_return false;
    std::function<int()> job = [this, epoch] { return mark_clean(epoch); };
    int error = co_await executor.offload(std::move(job));
    co_return error == 0;
}

void MirrorTarget::want_recording() {
    context_.on_background_queue([this](Executor &executor) {
        if (recording_) return;
        recording_ = true;
        executor.spawn(record_sometime(executor));
    });
}

// The next write or flush would do it as well; but there may be none for long.
Task<void> MirrorTarget::record_sometime(Executor &executor) {
    for (bool recorded = false; !recorded;) {
        bool goes_on = co_await executor.pause(RETRY_NS);
        if (!goes_on) break;
        std::function<int()> job = [this] { return record_failures(); };
        int error = co_await executor.offload(std::move(job));
        recorded = error == 0;
    }
    recording_ = false;
}

// Reads what one member has and writes it to all; what was to become zeros becomes so. An error of the media
// is no error of settling, once only one member is left to answer.
Task<int> MirrorTarget::settle(Executor &executor, LeafIo io, const Run &run) {
    AlignedBuffer buffer(PART_BYTES);
    bool data = io.op == US_OP_WRITE;
    for (uint64_t at = 0; at < io.length; at += PART_BYTES) {
        LeafIo part;
        part.op = data ? US_OP_READ : US_OP_WRITE_ZEROES;
        part.offset = io.offset + at;
        part.length = std::min(PART_BYTES, io.length - at);
        part.buffer.data = buffer.data();
        IoResult result{};
        if (data) {
            result = co_await read(executor, part, run);
            if (result.error != 0) co_await keep_only_first(executor, part, result.error);
            part.op = US_OP_WRITE;
        }
        if (result.error == 0) result = co_await change(executor, part, run);
        bool several = writable() != (readable() & -readable());
        if (result.error != 0 && several) co_return result.error;
    }
    co_return 0;
}

} // namespace us
