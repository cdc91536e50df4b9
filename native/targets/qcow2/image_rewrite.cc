// After a flush has failed: all tables are written once more, since any of them may not have reached the
// disk. During a round, which is the only time when L2 tables are written, snapshots change, or clusters get
// free.
#include <algorithm>
#include <cerrno>

#include "targets/qcow2/image.h"

namespace us::qcow2 {

Task<int> Image::settle_doubt(Executor &executor) {
    uint32_t doubt = watched_.doubt();
    if (doubt == 0) co_return 0;
    // A file whose flush has failed fails it for good: nothing is written for that.
    if (int error = co_await media_.flush()) co_return error;
    doubt = watched_.doubt();
    int error = co_await rewrite_tables(executor);
    if (error == 0) error = co_await media_.flush();
    if (error == 0) watched_.settle(doubt);
    co_return error == 0 && watched_.doubt() != 0 ? -EIO : error;
}

Task<int> Image::rewrite_tables(Executor &executor) {
    if (int error = co_await allocator_.rewrite_table(executor)) co_return error;
    for (uint64_t word : refcount_table_.words())
        if (word != 0)
            if (int error = co_await rewrite_refcounts(executor, word)) co_return error;
    std::vector<uint64_t> tables;
    if (int error = co_await rewrite_snapshots(tables)) co_return error;
    for (uint64_t word : l1_.words())
        tables.push_back(word & US_QCOW2_HOST_MASK);
    std::sort(tables.begin(), tables.end());
    tables.erase(std::unique(tables.begin(), tables.end()), tables.end());
    for (uint64_t table : tables)
        if (table != 0 && table % cluster() == 0)
            if (int error = co_await rewrite_l2(table)) co_return error;
    if (int error = co_await l1_.rewrite(executor)) co_return error;
    int error = co_await first_sector_.write(executor, HeaderField{});
    co_return error;
}

// A refcount may be written at any time: it is never too low.
Task<int> Image::rewrite_refcounts(Executor &executor, uint64_t block) {
    for (uint64_t at = 0; at < cluster(); at += cache_.slice_bytes()) {
        TableCache::Pin slice;
        if (int error = co_await cache_.get(executor, block + at, TableKind::refcounts, slice))
            co_return error;
        std::unique_lock lock(cache_.mutex());
        slice.changed();
        lock.unlock();
        if (int error = co_await cache_.write(executor, slice)) co_return error;
    }
    co_return 0;
}

// What memory has of it is written when what it leads to is on disk, later in this round.
Task<int> Image::rewrite_l2(uint64_t table) {
    for (uint64_t at = 0; at < cluster(); at += cache_.slice_bytes()) {
        if (cache_.change_held(table + at)) continue;
        if (int error = co_await rewrite_range({table + at, cache_.slice_bytes()})) co_return error;
    }
    co_return 0;
}

// tables: the L2 tables of all of them.
Task<int> Image::rewrite_snapshots(std::vector<uint64_t> &tables) {
    std::unique_lock lock(mutex_);
    SnapshotTable table = snapshots_;
    lock.unlock();
    if (int error = co_await rewrite_range(table.range)) co_return error;
    if (header_.bitmaps)
        if (int error = co_await rewrite_range(header_.bitmaps->directory)) co_return error;
    for (const Snapshot &snapshot : table.snapshots) {
        Directory l1(media_, snapshot.l1());
        if (int error = co_await l1.load()) co_return error;
        if (int error = co_await rewrite_range(snapshot.l1())) co_return error;
        for (uint64_t word : l1.words())
            tables.push_back(word & US_QCOW2_HOST_MASK);
    }
    co_return 0;
}

// Of what nobody else writes meanwhile.
Task<int> Image::rewrite_range(const Range &range) {
    constexpr uint64_t PIECE_BYTES = 1 << 20;
    std::vector<std::byte> bytes;
    uint64_t end = round_up(range.end(), US_SECTOR_BYTES); // its last sector is its own
    for (uint64_t at = range.offset; range.bytes != 0 && at < end; at += bytes.size()) {
        bytes.resize(std::min(PIECE_BYTES, end - at));
        if (int error = co_await media_.read(at, bytes)) co_return error;
        if (int error = co_await media_.write(at, bytes)) co_return error;
    }
    co_return 0;
}

} // namespace us::qcow2
