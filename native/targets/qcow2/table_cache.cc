#include "targets/qcow2/table_cache.h"

#include <algorithm>
#include <cerrno>

namespace us::qcow2 {

namespace {

constexpr uint64_t SLICE_BYTES = 4096;
// For what requests in flight need at once while all others are dirty.
#ifdef US_QCOW2_SPARE_SLICES // a simulator's
constexpr uint64_t SPARE_SLICES = US_QCOW2_SPARE_SLICES;
#else
constexpr uint64_t SPARE_SLICES = 4096;
#endif

} // namespace

TableCache::TableCache(Media &media, uint64_t cluster_bytes, uint64_t max_bytes)
    : media_(media), cluster_bytes_(cluster_bytes),
      slice_bytes_(static_cast<uint32_t>(std::min(cluster_bytes, SLICE_BYTES))),
      max_slices_(std::max<uint64_t>(max_bytes / slice_bytes_, 16)),
      store_(slice_bytes_, max_slices_ * 2 + SPARE_SLICES) {}

int TableCache::keep_in(int folder, const std::string &name, const std::string &owner, bool &taken_over) {
    std::vector<SliceStore::Place> left;
    int error = store_.open(folder, name, owner, left);
    for (const SliceStore::Place &memory : left)
        if (error == 0 && memory.kept->kind > static_cast<uint32_t>(TableKind::refcounts)) error = -EUCLEAN;
    if (error != 0) return error;
    if (store_.size() > SPARE_SLICES)
        max_slices_ =
            std::min<size_t>(max_slices_, std::max<uint64_t>((store_.size() - SPARE_SLICES) / 2, 16));
    for (const SliceStore::Place &memory : left)
        add(memory, static_cast<TableKind>(memory.kept->kind));
    for (auto &[offset, slice] : slices_)
        slice->dirty_ones->insert(slice.get());
    taken_over = !left.empty();
    return 0;
}

TableCache::Slice &TableCache::add(const SliceStore::Place &memory, TableKind kind) {
    std::unique_ptr<Slice> &slice = slices_[memory.kept->offset];
    slice = std::make_unique<Slice>();
    slice->memory = memory;
    slice->kind = kind;
    slice->dirty_ones = &dirty_[static_cast<size_t>(kind)];
    slice->place = by_use_.insert(by_use_.begin(), slice.get());
    return *slice;
}

int TableCache::insert(uint64_t offset, TableKind kind, Slice *&slice) {
    shrink();
    drop_failed();
    SliceStore::Place memory;
    if (int error = store_.take(memory)) return error;
    *memory.kept = {offset, 0, 0, static_cast<uint32_t>(kind), 0};
    std::atomic_ref<uint32_t>(memory.kept->used).store(1, std::memory_order_release);
    slice = &add(memory, kind);
    return 0;
}

void TableCache::shrink() {
    for (auto it = by_use_.end(); slices_.size() >= max_slices_ && it != by_use_.begin();) {
        Slice &slice = **--it;
        if (slice.pins != 0 || slice.dirty() || slice.loading || slice.writing) continue;
        ++it;
        drop(slice);
    }
}

void TableCache::drop(Slice &slice) {
    store_.give(slice.memory);
    by_use_.erase(slice.place);
    slices_.erase(slice.offset());
}

void TableCache::drop_failed() {
    std::erase_if(failed_, [&](const auto &slice) {
        if (slice->pins != 0) return false;
        store_.give(slice->memory);
        return true;
    });
}

Task<int> TableCache::get(Executor &executor, uint64_t offset, TableKind kind, Pin &pin) {
    offset = offset / slice_bytes_ * slice_bytes_;
    std::unique_lock lock(mutex_);
    auto found = slices_.find(offset);
    if (found != slices_.end()) {
        Slice &slice = *found->second;
        by_use_.splice(by_use_.begin(), by_use_, slice.place);
        Pin held(slice);
        while (slice.loading) {
            co_await loaded_.wait(executor, lock);
            lock.lock();
        }
        if (slice.error == 0) pin = std::move(held);
        co_return slice.error;
    }
    Slice *fresh = nullptr;
    if (int error = insert(offset, kind, fresh)) co_return error;
    Slice &slice = *fresh;
    Pin held(slice);
    slice.loading = true;
    lock.unlock();
    int error = co_await media_.read(offset, {slice.memory.data, slice_bytes_});
    lock.lock();
    slice.loading = false;
    slice.error = error;
    if (error != 0) { // the next one reads it again
        by_use_.erase(slice.place);
        std::unique_ptr<Slice> gone = std::move(slices_[offset]);
        slices_.erase(offset);
        failed_.push_back(std::move(gone));
    } else {
        pin = std::move(held);
    }
    loaded_.wake();
    co_return error;
}

void TableCache::forget_table(uint64_t offset) {
    std::lock_guard lock(mutex_);
    for (uint64_t at = 0; at < cluster_bytes_; at += slice_bytes_) {
        auto found = slices_.find(offset + at);
        if (found == slices_.end()) continue;
        found->second->dirty_ones->erase(found->second.get());
        drop(*found->second);
    }
}

bool TableCache::change_held(uint64_t offset) {
    std::lock_guard lock(mutex_);
    auto found = slices_.find(offset);
    if (found == slices_.end() || found->second->loading) return false;
    found->second->change();
    return true;
}

// As long as none of its own slices would have to go for it.
void TableCache::learn(uint64_t offset, std::span<const std::byte> table, TableKind kind) {
    std::lock_guard lock(mutex_);
    if (table.size() / slice_bytes_ > max_slices_ / 8) return;
    for (uint64_t at = 0; at < table.size(); at += slice_bytes_) {
        Slice *slice = nullptr;
        if (slices_.contains(offset + at) || insert(offset + at, kind, slice) != 0) return;
        std::copy_n(table.begin() + static_cast<std::ptrdiff_t>(at), slice_bytes_, slice->memory.data);
    }
}

TableCache::Copy TableCache::copy_of(Slice &slice) const {
    Copy copy{Pin(slice), &slice, slice.changes(), Buffer(slice_bytes_)};
    if (copy.data) std::copy_n(slice.memory.data, slice_bytes_, copy.data.data());
    return copy;
}

std::vector<TableCache::Copy> TableCache::copy_dirty(TableKind kind) {
    std::vector<Copy> copies;
    for (Slice *slice : dirty_[static_cast<size_t>(kind)])
        copies.push_back(copy_of(*slice));
    // In the order of the disk, which media like, and which is the same in every run.
    std::sort(copies.begin(), copies.end(),
              [](const Copy &a, const Copy &b) { return a.slice->offset() < b.slice->offset(); });
    return copies;
}

Task<int> TableCache::write_one(Executor &executor, Copy copy) {
    std::unique_lock lock(mutex_);
    Slice &slice = *copy.slice;
    while (slice.writing) {
        co_await written_.wait(executor, lock);
        lock.lock();
    }
    if (slice.written() >= copy.changes) co_return 0; // a newer copy has been written
    slice.writing = true;
    lock.unlock();
    int error = -ENOMEM;
    if (copy.data) error = co_await media_.write(slice.offset(), copy.data.span());
    lock.lock();
    slice.writing = false;
    if (error == 0) {
        std::atomic_ref<uint64_t>(slice.memory.kept->written).store(copy.changes, std::memory_order_release);
        if (!slice.dirty()) slice.dirty_ones->erase(&slice);
    }
    written_.wake();
    co_return error;
}

Task<int> TableCache::write(Executor &executor, std::vector<Copy> copies) {
    std::vector<Task<int>> tasks;
    for (Copy &copy : copies)
        tasks.push_back(write_one(executor, std::move(copy)));
    std::vector<int> errors = co_await all(std::move(tasks));
    for (int error : errors)
        if (error != 0) co_return error;
    co_return 0;
}

Task<int> TableCache::write(Executor &executor, const Pin &pin) {
    Slice &slice = pin.slice();
    std::unique_lock lock(mutex_);
    Copy copy = copy_of(slice);
    lock.unlock();
    int error = co_await write_one(executor, std::move(copy));
    co_return error;
}

} // namespace us::qcow2
