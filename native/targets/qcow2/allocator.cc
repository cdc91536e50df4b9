#include "targets/qcow2/allocator.h"

#include <algorithm>
#include <cerrno>
#include <map>

namespace us::qcow2 {

uint64_t Allocator::place_of(uint64_t index) {
    uint64_t number = index / h_.refcounts_per_block();
    uint64_t block = number < table_.size() ? table_.get(number) & ~REFCOUNT_TABLE_RESERVED : 0;
    return block == 0 ? 0 : block + in_block(index) * h_.refcount_bits() / 8;
}

uint64_t Allocator::take_in(const TableCache::Pin &slice, uint64_t &index, uint64_t wanted) {
    uint64_t first = index / per_slice() * per_slice(), end = first + per_slice(), count = 0;
    std::lock_guard lock(cache_.mutex());
    auto free = [&](uint64_t i) { return refcount_at(slice.data(), h_.refcount_order, i - first) == 0; };
    while (index < end && !free(index))
        index++;
    for (; count < wanted && index + count < end && free(index + count); count++)
        set_refcount(slice.data(), h_.refcount_order, index + count - first, 1);
    if (count != 0) slice.changed();
    return count;
}

Task<int> Allocator::allocate(Executor &executor, uint64_t &host, uint64_t &count) {
    std::unique_lock lock(mutex_);
    uint64_t index = next_;
    lock.unlock();
    for (;;) {
        if (place_of(index) == 0) {
            if (int error = co_await change_table(executor, index / h_.refcounts_per_block()))
                co_return error;
            continue;
        }
        TableCache::Pin slice;
        uint64_t from = index;
        if (int error = co_await cache_.get(executor, place_of(index), TableKind::refcounts, slice))
            co_return error;
        uint64_t taken = take_in(slice, index, count);
        lock.lock();
        // Whoever has released one meanwhile has set it back.
        if (next_ >= from && next_ < index) next_ = index;
        lock.unlock();
        if (taken == 0) continue;
        host = index << h_.shape.cluster_bits;
        count = taken;
        for (uint64_t i = 0; i < count; i++)
            if (metadata_.has((index + i) << h_.shape.cluster_bits)) co_return -EUCLEAN;
        co_return 0;
    }
}

Task<int> Allocator::allocate(Executor &executor, uint64_t &host) {
    uint64_t count = 1;
    int error = co_await allocate(executor, host, count);
    co_return error;
}

Task<void> Allocator::take_table(Executor &executor) {
    std::unique_lock lock(mutex_);
    while (changing_table_) {
        co_await table_changed_.wait(executor, lock);
        lock.lock();
    }
    changing_table_ = true;
}

void Allocator::leave_table() {
    std::lock_guard lock(mutex_);
    changing_table_ = false;
    table_changed_.wake();
}

Task<int> Allocator::change_table(Executor &executor, uint64_t number) {
    co_await take_table(executor);
    int error = 0;
    if (number >= table_.size() || table_.get(number) == 0) {
        // What is changed is the table that the header leads to for sure.
        while (error == 0 && (number >= table_.size() || larger_))
            error = co_await grow(executor);
        if (error == 0 && table_.get(number) == 0) error = co_await make_block(executor, number);
    }
    leave_table();
    co_return error;
}

Task<int> Allocator::rewrite_table(Executor &executor) {
    co_await take_table(executor);
    int error = co_await table_.rewrite(executor);
    leave_table();
    co_return error;
}

// It lies where its own clusters begin, all of which are free as long as there is none.
Task<int> Allocator::make_block(Executor &executor, uint64_t number) {
    uint64_t offset = number * h_.refcounts_per_block() * h_.cluster_bytes();
    if (offset >= MAX_HOST) co_return -ENOSPC;
    if (metadata_.has(offset)) co_return -EUCLEAN;
    cache_.forget_table(offset);
    std::vector<std::byte> block(h_.cluster_bytes());
    set_refcount(block.data(), h_.refcount_order, 0, 1);
    int error = co_await media_.write(offset, block);
    if (error == 0) error = co_await media_.flush();
    if (error == 0) error = co_await table_.set(executor, number, offset);
    if (error == 0) metadata_.add(offset);
    co_return error;
}

Task<int> Allocator::release(Executor &executor, Range range) {
    uint64_t end = h_.clusters(range.end());
    for (uint64_t index = range.offset >> h_.shape.cluster_bits; index < end; index++) {
        uint64_t place = place_of(index);
        if (place == 0) co_return -EUCLEAN;
        TableCache::Pin slice;
        if (int error = co_await cache_.get(executor, place, TableKind::refcounts, slice)) co_return error;
        uint64_t at = index % per_slice(), refcount = 0;
        {
            std::lock_guard lock(cache_.mutex());
            refcount = refcount_at(slice.data(), h_.refcount_order, at);
            if (refcount != 0) {
                set_refcount(slice.data(), h_.refcount_order, at, refcount - 1);
                slice.changed();
            }
        }
        if (refcount == 0) co_return -EUCLEAN;
        std::lock_guard lock(mutex_);
        if (refcount == 1) next_ = std::min(next_, index);
    }
    co_return 0;
}

Task<int> Allocator::refcount_of(Executor &executor, uint64_t index, uint64_t &refcount) {
    refcount = 0;
    uint64_t place = place_of(index);
    if (place == 0) co_return -EUCLEAN;
    TableCache::Pin slice;
    if (int error = co_await cache_.get(executor, place, TableKind::refcounts, slice)) co_return error;
    std::lock_guard lock(cache_.mutex());
    refcount = refcount_at(slice.data(), h_.refcount_order, index % per_slice());
    co_return 0;
}

// Discarded first: once its refcount is 0 a cluster may have a new owner at once.
Task<int> Allocator::release_and_discard(Executor &executor, const std::vector<Range> &ranges) {
    std::map<uint64_t, uint64_t> references; // by cluster: how many it loses
    for (const Range &range : ranges)
        for (uint64_t i = range.offset >> h_.shape.cluster_bits; i < h_.clusters(range.end()); i++)
            references[i]++;
    Range free{};
    for (auto [index, times] : references) {
        uint64_t refcount = 0;
        if (int error = co_await refcount_of(executor, index, refcount)) co_return error;
        if (refcount != times) continue;
        uint64_t offset = index << h_.shape.cluster_bits;
        if (free.bytes != 0 && free.end() != offset) {
            co_await media_.discard(free.offset, free.bytes);
            free = {};
        }
        if (free.bytes == 0) free.offset = offset;
        free.bytes += h_.cluster_bytes();
    }
    if (free.bytes != 0) co_await media_.discard(free.offset, free.bytes);
    int error = 0;
    for (const Range &range : ranges)
        if (int failed = co_await release(executor, range)) error = failed;
    co_return error;
}

Task<int> Allocator::write_refcount(Executor &executor, uint64_t host) {
    TableCache::Pin slice;
    uint64_t place = place_of(host >> h_.shape.cluster_bits);
    if (int error = co_await cache_.get(executor, place, TableKind::refcounts, slice)) co_return error;
    int error = co_await cache_.write(executor, slice);
    co_return error;
}

} // namespace us::qcow2
