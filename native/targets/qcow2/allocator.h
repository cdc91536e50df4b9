// Which clusters of the image file are free. Refcounts change in memory; the image's rounds write them.
//
// Blocks for them are made as they are needed, and a larger table once it is full, behind all that it speaks
// of:
//
//     │ all that the old table speaks of │ new table │ blocks │ free …
//                                          the first of which have the refcounts of the new table and their
//                                          own
//
//     blocks, and the table with all its entries ─▶ FLUSH ─▶ the header leads to it ─▶ FLUSH ─▶ the old one
//     is free
#pragma once

#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "targets/qcow2/directory.h"
#include "targets/qcow2/first_sector.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/metadata.h"
#include "targets/qcow2/refcounts.h"
#include "targets/qcow2/table_cache.h"

namespace us::qcow2 {

class Allocator {
  public:
    // header: says where the refcount table is, and goes on to do so.
    Allocator(Media &media, Header &header, FirstSector &first_sector, TableCache &cache,
              Directory &refcount_table, Metadata &metadata)
        : media_(media), h_(header), first_sector_(first_sector), cache_(cache), table_(refcount_table),
          metadata_(metadata) {}

    // One cluster with refcount 1, of any content: 0 and its offset, or -errno; -ENOSPC when the refcount
    // table is full and as large as it may be, -EUCLEAN when a table of the image lies where its refcounts
    // say that nothing does.
    Task<int> allocate(Executor &executor, uint64_t &host);
    // As many as are free side by side, at most `count`, which then says how many these are.
    Task<int> allocate(Executor &executor, uint64_t &host, uint64_t &count);

    // One reference less to each cluster that the range touches.
    Task<int> release(Executor &executor, Range range);
    // The same of many, whose content nobody reads any more: what becomes free by it is free below, too.
    Task<int> release_and_discard(Executor &executor, const std::vector<Range> &ranges);

    // Somebody else has set clusters free, this one and perhaps later ones.
    void freed_from(uint64_t host) {
        std::lock_guard lock(mutex_);
        next_ = std::min(next_, host >> h_.shape.cluster_bits);
    }

    // Writes what is known now of the refcount of this cluster.
    Task<int> write_refcount(Executor &executor, uint64_t host);

    // Writes the refcount table once more, beside all others.
    Task<int> rewrite_table(Executor &executor);

    // After writes that have failed, and may have reached the disk: the table on disk is the one in memory,
    // once it is flushed. Nobody allocates meanwhile.
    Task<int> settle(Executor &executor);

  private:
    // The offset of the byte in the block that has the refcount of cluster `index`; 0 when there is no block.
    uint64_t place_of(uint64_t index);
    Task<int> refcount_of(Executor &executor, uint64_t index, uint64_t &refcount);
    uint64_t in_block(uint64_t index) const { return index % h_.refcounts_per_block(); }
    // One after the other: who has taken it changes the refcount table, and no one else.
    Task<void> take_table(Executor &executor);
    void leave_table();
    // So that there is a block of this number.
    Task<int> change_table(Executor &executor, uint64_t number);
    Task<int> make_block(Executor &executor, uint64_t number);
    // Takes the first free clusters from index on that this slice speaks of, at most so many, side by side;
    // none: `index` is behind the slice.
    uint64_t take_in(const TableCache::Pin &slice, uint64_t &index, uint64_t wanted);
    uint64_t per_slice() const { return uint64_t{cache_.slice_bytes()} * 8 / h_.refcount_bits(); }

    // ---- allocator_grow.cc
    struct LargerTable {
        Range range, replaces;
        std::vector<uint64_t> words;
        uint64_t new_end; // behind its new blocks
    };
    Task<int> grow(Executor &executor);
    Task<int> make_larger_table();
    Task<int> move_to_larger_table(Executor &executor);

    Media &media_;
    Header &h_;
    FirstSector &first_sector_;
    TableCache &cache_;
    Directory &table_;
    Metadata &metadata_;

    std::mutex mutex_;
    uint64_t next_ = 0; // no cluster before it is free
    bool changing_table_ = false;
    Waiters table_changed_;
    std::optional<LargerTable> larger_; // on disk, and the header may lead to it already
};

} // namespace us::qcow2
