// The refcounts as they are going to be. Those on disk stay as they are: blocks that change are copied, and
// so is the table that leads to them, to clusters that nobody uses now. Whoever reads the old table sees the
// old refcounts, whoever reads the new one the new ones; what the change sets free is not used for the
// change.
//
//     old table ─▶ block 0   block 1   block 2
//     new table ─▶ block 0 ────┘ ─▶ copy of 1 …       of which the new refcounts know, and the old do not
#pragma once

#include <unordered_map>
#include <vector>

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/metadata.h"
#include "targets/qcow2/refcounts.h"

namespace us::qcow2 {

class NextRefcounts {
  public:
    // All that is in memory of the refcounts is on disk, and does not change before this ends.
    NextRefcounts(Media &media, const Header &header, const Metadata &metadata, std::vector<uint64_t> table)
        : media_(media), h_(header), metadata_(metadata), table_(std::move(table)),
          table_range_(header.refcount_table()) {}

    // Before get() or add() of what lies in these ranges. 0 or -errno, as everything below: -ENOMEM beyond
    // all measure.
    Task<int> load(const std::vector<Range> &ranges);
    uint64_t get(uint64_t host) const;
    // One reference more, or less, to each cluster that the range touches, of which there is one at least:
    // else -EUCLEAN. -EFBIG: a refcount is too narrow for it.
    int add(const Range &range, int references);

    // So many clusters side by side, with one reference each; -EFBIG beyond the largest refcount table.
    Task<int> place(uint64_t clusters, uint64_t &offset);

    // ---- next_refcounts_all.cc: of all there are
    Task<int> load_all();
    // Each cluster with a reference, by index.
    template <typename Visit> void each_used(const Visit &visit) const {
        for (const auto &[number, block] : blocks_)
            for (uint64_t i = 0; i < per_block(); i++)
                if (refcount_at(block.refcounts.data(), h_.refcount_order, i) != 0)
                    visit(number * per_block() + i);
    }
    // Blocks that speak of nothing but themselves are no longer there. How many.
    int drop_empty(uint64_t &dropped);
    // The block of this number is written anew, elsewhere.
    void move(uint64_t number);
    uint64_t block_of(uint64_t offset) const { return offset / cluster() / per_block(); }

    // Places all that has changed; nothing else changes from then on.
    Task<int> settle();
    // The same, and writes it; if nothing has changed, nothing.
    Task<int> write();

    const std::vector<uint64_t> &table() const { return table_; }
    const Range &table_range() const { return table_range_; }
    const std::vector<uint64_t> &new_blocks() const { return new_blocks_; }
    uint64_t lowest_freed() const { return lowest_freed_; } // UINT64_MAX: none

  private:
    struct Block {
        std::vector<std::byte> refcounts;
        std::vector<bool> kept; // set free by this very change; empty: none of them
        bool changed = false;
    };
    uint64_t cluster() const { return h_.cluster_bytes(); }
    uint64_t per_block() const { return h_.refcounts_per_block(); }
    uint64_t place_of(uint64_t number) const {
        return number < table_.size() ? table_[number] & ~REFCOUNT_TABLE_RESERVED : 0;
    }
    Task<int> load_block(uint64_t number);
    bool find_free(uint64_t number, uint64_t clusters, uint64_t &run, uint64_t &index) const;
    void set(uint64_t index, uint64_t refcount);
    Task<int> move_block(uint64_t number);
    Task<int> move_blocks();
    Task<int> place_table();

    Media &media_;
    const Header &h_;
    const Metadata &metadata_;
    std::vector<uint64_t> table_;
    Range table_range_;
    std::unordered_map<uint64_t, Block> blocks_; // by number
    std::vector<uint64_t> unplaced_;             // numbers of changed blocks that have no new place yet
    std::vector<uint64_t> new_blocks_;           // their offsets
    uint64_t next_ = 0;                          // no cluster before it is free
    uint64_t lowest_freed_ = UINT64_MAX;
    bool settled_ = false;
};

} // namespace us::qcow2
