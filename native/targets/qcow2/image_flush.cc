#include <cerrno>

#include "targets/qcow2/image.h"

namespace us::qcow2 {

// All that wait for the same round are answered by it.
Task<int> Image::flush(Executor &executor) {
    std::unique_lock lock(mutex_);
    uint64_t mine = rounds_begun_ + 1; // one that begins from now on
    while (in_round_) {
        co_await round_ended_.wait(executor, lock);
        lock.lock();
        if (!in_round_ && rounds_begun_ >= mine) co_return round_error_;
    }
    in_round_ = true;
    rounds_begun_++;
    lock.unlock();
    int error = co_await round(executor);
    lock.lock();
    in_round_ = false;
    round_error_ = error;
    round_ended_.wake();
    co_return error;
}

void Image::distrust() {
    watched_.distrust();
    std::lock_guard cache_lock(cache_.mutex());
    if (options_.map) options_.map->set_clean(false);
}

// What the first round sets free, the second one writes.
Task<int> Image::close(Executor &executor) {
    int error = co_await flush(executor);
    if (error == 0) error = co_await flush(executor);
    co_return error;
}

Task<int> Image::round(Executor &executor, bool map_closed) {
    if (corrupt()) co_return -EUCLEAN;
    if (int error = co_await settle_doubt(executor)) co_return error;
    std::unique_lock lock(mutex_);
    std::vector<Range> frees = std::exchange(given_up_, {});
    lock.unlock();
    Inflight::Older older; // than the entries which gave that up
    if (mapped_ && !map_closed && !frees.empty()) older = options_.map->older();
    std::unique_lock cache_lock(cache_.mutex());
    auto tables = cache_.copy_dirty(TableKind::l2);
    auto refcounts = cache_.copy_dirty(TableKind::refcounts);
    cache_lock.unlock();

    // What the cache has of them stays until it is on disk for sure: read back it might be older.
    std::vector<TableCache::Pin> written;
    for (const auto *copies : {&tables, &refcounts})
        for (const TableCache::Copy &copy : *copies)
            written.emplace_back(*copy.slice);

    bool leads_anew = !tables.empty();
    int error = co_await cache_.write(executor, std::move(refcounts));
    if (error == 0) error = co_await media_.flush();
    if (error == 0 && options_.data) error = co_await options_.data->flush();
    if (error == 0 && leads_anew) {
        error = co_await cache_.write(executor, std::move(tables));
        if (error == 0) error = co_await media_.flush();
    }
    // A flush of somebody else's may have been told what was lost of this one's.
    if (error == 0 && watched_.doubt() != 0) error = -EIO;
    if (error != 0) {
        cache_lock.lock();
        for (const TableCache::Pin &slice : written)
            slice.changed();
        cache_lock.unlock();
        lock.lock();
        given_up_.insert(given_up_.end(), frees.begin(), frees.end());
        co_return error;
    }
    written.clear(); // what gets free may soon be another table
    // Nothing on disk leads to them any more, and soon nobody does who has seen a table that did.
    if (!frees.empty()) co_await older_finds(executor);
    if (!older.empty() && !options_.map->passed(older)) {
        // Somebody may still act on a word that did: the next round asks again.
        lock.lock();
        given_up_.insert(given_up_.end(), frees.begin(), frees.end());
        co_return 0;
    }
    if (!frees.empty() && options_.inflater) options_.inflater->forget();
    error = co_await allocator_.release_and_discard(executor, frees);
    if (error == 0) note_clean();
    co_return error;
}

Task<void> Image::older_finds(Executor &executor) {
    std::unique_lock lock(mutex_);
    uint64_t begun = finds_begun_;
    while (!finds_.empty() && *finds_.begin() <= begun) {
        co_await find_ended_.wait(executor, lock);
        lock.lock();
    }
}

} // namespace us::qcow2
