#include "targets/qcow2/layer_media.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "targets/qcow2/format.h"

namespace us::qcow2 {

namespace {

struct Free {
    void operator()(std::byte *memory) const { free(memory); }
};
using Memory = std::unique_ptr<std::byte, Free>;

// As direct IO wants it.
Memory take_memory(uint64_t bytes) {
    return Memory(static_cast<std::byte *>(aligned_alloc(4096, round_up(bytes, 4096))));
}

} // namespace

LayerMedia::LayerMedia(const LayerPlace &place) : place_(place) {
    for (uint32_t i = place.nr_slots; i-- > 0;)
        free_slots_.push_back(place.first_slot + i);
}

bool LayerMedia::aligned(uint64_t offset, std::span<const std::byte> bytes) const {
    return (offset | bytes.size() | reinterpret_cast<uintptr_t>(bytes.data())) % place_.block == 0;
}

Task<int> LayerMedia::execute(us_op op, uint64_t offset, uint64_t length, std::byte *data, uint32_t flags) {
    Executor &executor = *Executor::of_this_thread;
    LeafIo io;
    io.op = op;
    io.flags = flags;
    io.offset = offset;
    io.length = length;
    io.buffer.data = data;
    Run run;
    bool publishes = place_.inflight && us_op_writes(op);
    if (publishes) {
        std::unique_lock lock(mutex_);
        while (free_slots_.empty()) {
            co_await slot_freed_.wait(executor, lock);
            lock.lock();
        }
        run = {place_.inflight, free_slots_.back()};
        free_slots_.pop_back();
        lock.unlock();
        run.inflight->publish(run.slot, place_.layer, op, offset, length);
        run.inflight->turn_careful(run.slot);
    }
    IoResult result = co_await executor.execute(place_.layer, io, run);
    if (publishes) {
        run.inflight->clear(run.slot);
        std::lock_guard lock(mutex_);
        free_slots_.push_back(run.slot);
        slot_freed_.wake();
    }
    co_return result.error;
}

Task<int> LayerMedia::read(uint64_t offset, std::span<std::byte> into) {
    uint64_t have = offset < place_.size ? std::min<uint64_t>(into.size(), place_.size - offset) : 0;
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(have), into.end(), std::byte{0});
    into = into.first(have);
    if (into.empty()) co_return 0;
    int error = 0;
    if (aligned(offset, into))
        error = co_await execute(US_OP_READ, offset, into.size(), into.data());
    else
        error = co_await read_around(offset, into);
    co_return error;
}

Task<int> LayerMedia::read_around(uint64_t offset, std::span<std::byte> into) {
    uint64_t start = block_start(offset), bytes = round_up(offset + into.size(), place_.block) - start;
    Memory memory = take_memory(bytes);
    if (!memory) co_return -ENOMEM;
    int error = co_await execute(US_OP_READ, start, bytes, memory.get());
    if (error == 0) memcpy(into.data(), memory.get() + (offset - start), into.size());
    co_return error;
}

Task<int> LayerMedia::write(uint64_t offset, std::span<const std::byte> from) {
    if (from.size() > place_.size || offset > place_.size - from.size()) co_return -ENOSPC;
    int error = 0;
    // The layer does not change what it writes.
    if (aligned(offset, from))
        error = co_await execute(US_OP_WRITE, offset, from.size(), const_cast<std::byte *>(from.data()));
    else
        error = co_await write_around(offset, from);
    co_return error;
}

Task<int> LayerMedia::write_around(uint64_t offset, std::span<const std::byte> from) {
    uint64_t start = block_start(offset), end = round_up(offset + from.size(), place_.block);
    Memory memory = take_memory(end - start);
    if (!memory) co_return -ENOMEM;
    bool whole = start == offset && end == offset + from.size();
    Turns::Ticket turn = co_await blocks_.begin(*Executor::of_this_thread, start / place_.block,
                                                whole ? start / place_.block : end / place_.block, false);
    int error = 0;
    if (!whole) error = co_await execute(US_OP_READ, start, end - start, memory.get());
    memcpy(memory.get() + (offset - start), from.data(), from.size());
    if (error == 0) error = co_await execute(US_OP_WRITE, start, end - start, memory.get());
    blocks_.end(turn);
    co_return error;
}

Task<int> LayerMedia::flush() {
    int error = co_await execute(US_OP_FLUSH, 0, 0, nullptr);
    co_return error;
}

Task<void> LayerMedia::discard(uint64_t offset, uint64_t length) {
    uint64_t end = (offset + length) / place_.block * place_.block;
    offset = round_up(offset, place_.block);
    if (offset < end) co_await execute(US_OP_DISCARD, offset, end - offset, nullptr, IO_FAST_ONLY);
}

Task<int> LayerMedia::zero(uint64_t offset, uint64_t length, bool keep) {
    if (length > place_.size || offset > place_.size - length) co_return -ENOSPC;
    int error =
        co_await execute(US_OP_WRITE_ZEROES, offset, length, nullptr, keep ? uint32_t{IO_NO_UNMAP} : 0);
    co_return error;
}

} // namespace us::qcow2
