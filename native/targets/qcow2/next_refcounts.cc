#include "targets/qcow2/next_refcounts.h"

#include <algorithm>
#include <cerrno>

#include "targets/qcow2/refcounts.h"

namespace us::qcow2 {

namespace {

// What 32 TiB need of clusters of 64 KiB and refcounts of 16 bits. Sparse files could ask for any memory.
constexpr uint64_t MAX_BYTES = 1 << 30;

} // namespace

// A block that nobody has made yet says that all its clusters are free.
Task<int> NextRefcounts::load_block(uint64_t number) {
    if (blocks_.contains(number)) co_return 0;
    if ((blocks_.size() + 1) * cluster() > MAX_BYTES) co_return -ENOMEM;
    std::vector<std::byte> refcounts(cluster());
    if (uint64_t place = place_of(number))
        if (int error = co_await media_.read(place, refcounts)) co_return error;
    blocks_[number].refcounts = std::move(refcounts);
    co_return 0;
}

Task<int> NextRefcounts::load(const std::vector<Range> &ranges) {
    for (const Range &range : ranges) {
        if (range.bytes == 0) continue;
        uint64_t first = range.offset / cluster() / per_block(),
                 last = (range.end() - 1) / cluster() / per_block();
        for (uint64_t number = first; number <= last; number++)
            if (place_of(number) != 0 && !blocks_.contains(number))
                if (int error = co_await load_block(number)) co_return error;
    }
    co_return 0;
}

uint64_t NextRefcounts::get(uint64_t host) const {
    uint64_t index = host / cluster();
    auto found = blocks_.find(index / per_block());
    if (found == blocks_.end()) return 0;
    return refcount_at(found->second.refcounts.data(), h_.refcount_order, index % per_block());
}

void NextRefcounts::set(uint64_t index, uint64_t refcount) {
    uint64_t number = index / per_block();
    Block &block = blocks_[number];
    set_refcount(block.refcounts.data(), h_.refcount_order, index % per_block(), refcount);
    if (refcount == 0) {
        block.kept.resize(per_block());
        block.kept[index % per_block()] = true;
        lowest_freed_ = std::min(lowest_freed_, index * cluster());
    }
    if (!std::exchange(block.changed, true)) unplaced_.push_back(number);
}

int NextRefcounts::add(const Range &range, int references) {
    if (range.bytes == 0) return 0;
    for (uint64_t index = range.offset / cluster(); index <= (range.end() - 1) / cluster(); index++) {
        uint64_t refcount = get(index * cluster());
        if (refcount == 0) return -EUCLEAN;
        if (references > 0 && refcount == refcount_max(h_.refcount_order)) return -EFBIG;
        set(index, references > 0 ? refcount + 1 : refcount - 1);
    }
    return 0;
}

// Whether a run of free clusters that may have begun in blocks before comes to its length in this one: then
// `index` is its first.
bool NextRefcounts::find_free(uint64_t number, uint64_t clusters, uint64_t &run, uint64_t &index) const {
    const Block &block = blocks_.at(number);
    uint64_t first = number * per_block();
    for (uint64_t i = std::max(first, next_); i < first + per_block(); i++) {
        bool free = refcount_at(block.refcounts.data(), h_.refcount_order, i - first) == 0 &&
                    (block.kept.empty() || !block.kept[i - first]);
        run = free ? run + 1 : 0;
        if (run < clusters) continue;
        index = i + 1 - clusters;
        return true;
    }
    return false;
}

Task<int> NextRefcounts::place(uint64_t clusters, uint64_t &offset) {
    uint64_t most = std::min(MAX_REFCOUNT_TABLE_BYTES / 8, MAX_HOST / cluster() / per_block()), run = 0,
             index = 0;
    for (uint64_t number = next_ / per_block();; number++) {
        if (number >= most) co_return -EFBIG;
        bool known = blocks_.contains(number);
        if (int error = co_await load_block(number)) co_return error;
        if (find_free(number, clusters, run, index)) break;
        if (!known && run == 0) blocks_.erase(number); // nobody has asked for it
    }
    if (clusters == 1) next_ = index + 1;
    for (uint64_t i = index; i < index + clusters; i++) {
        if (metadata_.has(i * cluster())) co_return -EUCLEAN;
        set(i, 1);
    }
    offset = index * cluster();
    co_return 0;
}

Task<int> NextRefcounts::move_block(uint64_t number) {
    uint64_t before = place_of(number), now = 0;
    if (int error = co_await place(1, now)) co_return error;
    if (before != 0) {
        std::vector<Range> old{{before, cluster()}};
        if (int error = co_await load(old)) co_return error;
        if (int error = add(old[0], -1)) co_return error;
    }
    if (number >= table_.size()) table_.resize(number + 1);
    table_[number] = now;
    new_blocks_.push_back(now);
    co_return 0;
}

// What has to be written anew for the sake of a block that moves is moved in turn: each once.
Task<int> NextRefcounts::move_blocks() {
    while (!unplaced_.empty()) {
        uint64_t number = unplaced_.back();
        unplaced_.pop_back();
        if (int error = co_await move_block(number)) co_return error;
    }
    co_return 0;
}

// Its own place may need another block, and that one a larger table.
Task<int> NextRefcounts::place_table() {
    Range placed;
    uint64_t least = table_range_.bytes;
    std::vector<Range> old{table_range_};
    if (int error = co_await load(old)) co_return error;
    if (int error = add(old[0], -1)) co_return error;
    for (;;) {
        if (int error = co_await move_blocks()) co_return error;
        uint64_t wanted = std::max(least, round_up(table_.size() * 8, cluster()));
        if (wanted > MAX_REFCOUNT_TABLE_BYTES) co_return -EFBIG;
        if (placed.bytes >= wanted) break;
        if (int error = add(placed, -1)) co_return error;
        placed.bytes = wanted;
        if (int error = co_await place(wanted / cluster(), placed.offset)) co_return error;
    }
    table_range_ = placed;
    table_.resize(placed.bytes / 8);
    co_return 0;
}

Task<int> NextRefcounts::settle() {
    if (unplaced_.empty()) co_return 0;
    settled_ = true;
    int error = co_await place_table();
    co_return error;
}

Task<int> NextRefcounts::write() {
    if (int error = co_await settle()) co_return error;
    if (!settled_) co_return 0;
    for (const auto &[number, block] : blocks_) {
        if (!block.changed) continue;
        if (int error = co_await media_.write(table_[number], block.refcounts)) co_return error;
    }
    std::vector<std::byte> bytes(table_range_.bytes);
    for (size_t i = 0; i < table_.size(); i++)
        store<uint64_t>(bytes.data() + i * 8, table_[i]);
    int error = co_await media_.write(table_range_.offset, bytes);
    co_return error;
}

} // namespace us::qcow2
