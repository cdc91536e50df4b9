// Which clusters of the image file are free. Refcounts change in memory; the image's rounds write them.
#pragma once

#include <mutex>
#include <vector>

#include "targets/qcow2/directory.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/metadata.h"
#include "targets/qcow2/refcounts.h"
#include "targets/qcow2/table_cache.h"

namespace us::qcow2 {

class Allocator {
  public:
    Allocator(Media &media, const Header &header, TableCache &cache, Directory &refcount_table,
              Metadata &metadata)
        : media_(media), h_(header), cache_(cache), table_(refcount_table), metadata_(metadata) {}

    // One cluster with refcount 1, of any content: 0 and its offset, or -errno; -ENOSPC when the refcount
    // table is full, -EUCLEAN when a table of the image lies where its refcounts say that nothing does.
    Task<int> allocate(Executor &executor, uint64_t &host);

    // One reference less to each cluster that the range touches.
    Task<int> release(Executor &executor, Range range);
    // The same of many, whose content nobody reads any more: what becomes free by it is free below, too.
    Task<int> release_and_discard(Executor &executor, const std::vector<Range> &ranges);

    // Writes what is known now of the refcount of this cluster.
    Task<int> write_refcount(Executor &executor, uint64_t host);

  private:
    // The offset of the byte in the block that has the refcount of cluster `index`; 0 when there is no block.
    uint64_t place_of(uint64_t index);
    Task<int> refcount_of(Executor &executor, uint64_t index, uint64_t &refcount);
    uint64_t in_block(uint64_t index) const { return index % h_.refcounts_per_block(); }
    Task<int> make_block(Executor &executor, uint64_t number);
    // Takes the first free cluster from index on that this slice speaks of; else `index` is behind the slice.
    bool take_in(const TableCache::Pin &slice, uint64_t &index);
    uint64_t per_slice() const { return uint64_t{cache_.slice_bytes()} * 8 / h_.refcount_bits(); }

    Media &media_;
    const Header &h_;
    TableCache &cache_;
    Directory &table_;
    Metadata &metadata_;

    std::mutex mutex_;
    uint64_t next_ = 0; // no cluster before it is free
    bool making_block_ = false;
    Waiters block_made_;
};

} // namespace us::qcow2
