// Tables that lie behind what an image needs move to its front, in one revision: first it is planned, in
// memory, where everything is going to be; and only if the image ends earlier then anything is written.
//
//     L1 ─▶ L2 tables       of which no snapshot has a share         ─▶ the lowest clusters that are free
//     snapshots ─▶ their L1 tables
//     refcount table ─▶ blocks       those that speak of themselves alone are dropped
#include <algorithm>
#include <cerrno>

#include "targets/qcow2/revision.h"
#include "targets/qcow2/subclusters.h"

namespace us::qcow2 {

namespace {

constexpr uint64_t MAX_CLUSTERS = uint64_t{1} << 33; // a bit for each is 1 GiB
constexpr uint64_t DISCARD_BYTES = 1 << 30;

void note(std::vector<bool> &clusters, const Range &range, uint64_t cluster) {
    for (uint64_t at = range.offset / cluster; range.bytes != 0 && at <= (range.end() - 1) / cluster; at++)
        if (at < clusters.size()) clusters[at] = true;
}

} // namespace

// ---- What lies where

Task<int> Revision::survey(Layout &layout) {
    uint64_t clusters = header_.clusters(image_.media_.size());
    if (clusters > MAX_CLUSTERS) co_return -ENOMEM;
    layout.data.assign(clusters, false);
    layout.tables.assign(clusters, false);
    if (int error = co_await refcounts_->load_all()) co_return error;
    if (int error = co_await find_data(layout)) co_return error;
    find_tables(layout);
    measure(layout);
    co_return 0;
}

Task<int> Revision::find_data(Layout &layout) {
    const us_qcow2_shape &shape = header_.shape;
    Table table;
    for (uint64_t word : l1) {
        if (!(word & US_QCOW2_HOST_MASK) || !(word & US_QCOW2_COPIED)) continue;
        if (int error = co_await read_table(word & US_QCOW2_HOST_MASK, table)) co_return error;
        for (size_t at = 0; at < table.size(); at += us_qcow2_entry_bytes(&shape)) {
            Image::Entry entry{load<uint64_t>(table.data() + at),
                               shape.extended ? load<uint64_t>(table.data() + at + 8) : 0};
            us_qcow2_run run = us_qcow2_entry(&shape, entry.word, entry.subclusters, 0, 0);
            if (!run.exclusive || image_.allocated_parts(entry, 0) == 0) continue;
            note(layout.data, {entry.word & US_QCOW2_HOST_MASK, cluster()}, cluster());
        }
    }
    co_return 0;
}

void Revision::find_tables(Layout &layout) const {
    auto found = [&](const Range &range) { note(layout.tables, range, cluster()); };
    found(header_.l1());
    found(header_.refcount_table());
    for (uint64_t block : refcounts_->table())
        if (block != 0) found({block & ~REFCOUNT_TABLE_RESERVED, cluster()});
    for (uint64_t word : l1)
        if (word & US_QCOW2_HOST_MASK && word & US_QCOW2_COPIED)
            found({word & US_QCOW2_HOST_MASK, cluster()});
    found(image_.snapshots_.range);
    for (const Snapshot &snapshot : snapshots)
        found(snapshot.l1());
}

void Revision::measure(Layout &layout) const {
    layout.used = layout.data_end = layout.tables_end = layout.fixed_end = 0;
    refcounts_->each_used([&](uint64_t index) {
        layout.used++;
        bool data = index < layout.data.size() && layout.data[index],
             table = index < layout.tables.size() && layout.tables[index];
        uint64_t &end = data ? layout.data_end : table ? layout.tables_end : layout.fixed_end;
        end = std::max(end, index + 1);
    });
}

// ---- Where it is going to be

Task<int> Revision::move_range(const Range &range, uint64_t &offset) {
    if (int error = co_await refcounts_->place(header_.clusters(range.bytes), offset)) co_return error;
    int error = refcounts_->add(range, -1);
    co_return error;
}

Task<int> Revision::plan_tables(uint64_t limit) {
    for (uint64_t &word : l1) {
        uint64_t from = word & US_QCOW2_HOST_MASK, to = 0;
        if (from < limit || !(word & US_QCOW2_COPIED)) continue;
        if (int error = co_await move_range({from, cluster()}, to)) co_return error;
        moves_.push_back({{from, cluster()}, to});
        new_tables_.push_back(to);
        word = to | US_QCOW2_COPIED;
    }
    bool moves = !new_tables_.empty() || (!l1.empty() && header_.l1().end() > limit);
    if (moves) {
        if (int error = co_await move_range(header_.l1(), header_.l1_offset)) co_return error;
    }
    co_return 0;
}

Task<int> Revision::plan_snapshots(uint64_t limit) {
    for (Snapshot &snapshot : snapshots) {
        Range from = snapshot.l1();
        if (from.bytes == 0 || from.end() <= limit) continue;
        if (int error = co_await move_range(from, snapshot.l1_offset)) co_return error;
        moves_.push_back({from, snapshot.l1_offset});
        rewrite_snapshots = true;
    }
    const Range &table = image_.snapshots_.range;
    if (table.bytes != 0 && table.end() > limit) rewrite_snapshots = true;
    if (!rewrite_snapshots) co_return 0;
    // Written anew it may be longer than it was.
    Range now{0, encode_snapshots(snapshots).size()};
    if (int error = co_await refcounts_->place(header_.clusters(now.bytes), header_.snapshots_offset))
        co_return error;
    int error = refcounts_->add(table, -1);
    co_return error;
}

Task<int> Revision::plan(uint64_t limit) {
    if (int error = co_await plan_tables(limit)) co_return error;
    if (int error = co_await plan_snapshots(limit)) co_return error;
    const std::vector<uint64_t> blocks = refcounts_->table();
    for (uint64_t number = 0; number < blocks.size(); number++)
        if (blocks[number] >= limit && blocks[number] != 0) refcounts_->move(number);
    if (header_.refcount_table().end() > limit)
        refcounts_->move(refcounts_->block_of(header_.refcount_table_offset));
    int error = co_await refcounts_->settle();
    co_return error;
}

Task<int> Revision::gather(Layout &layout, uint64_t &moved) {
    moved = 0;
    if (int error = co_await survey(layout)) co_return error;
    uint64_t dropped = 0;
    if (int error = refcounts_->drop_empty(dropped)) co_return error;
    uint64_t limit = std::max(layout.fixed_end, layout.used - dropped);
    if (limit >= layout.end()) co_return 0;
    int error = co_await plan(limit * cluster());
    if (error == -EFBIG) co_return 0; // there is no room for it
    if (error != 0) co_return error;
    Layout after;
    after.data = layout.data;
    measure(after);
    // Or so many blocks are dropped that there is room for all that is written anew, the next time.
    uint64_t anew = refcounts_->new_blocks().size() + header_.clusters(refcounts_->table_range().bytes);
    bool fewer = after.used + 2 * anew < layout.used;
    if (!fewer && after.end() >= layout.end()) co_return 0;
    if (int failed = co_await write_moved()) co_return failed;
    if (int failed = co_await lead()) co_return failed;
    layout = std::move(after);
    moved = (moves_.size() + refcounts_->new_blocks().size()) * cluster();
    co_return 0;
}

// To the ends of their last clusters, of which nothing older shows.
Task<int> Revision::write_moved() {
    Table bytes;
    for (const Move &move : moves_) {
        bytes.assign(round_up(move.from.bytes, cluster()), std::byte{0});
        auto part = std::span(bytes).first(move.from.bytes);
        if (int error = co_await image_.media_.read(move.from.offset, part)) co_return error;
        if (int error = co_await image_.media_.write(move.to, bytes)) co_return error;
    }
    if (header_.l1_offset != image_.header_.l1_offset) {
        bytes.assign(round_up(l1.size() * 8, cluster()), std::byte{0});
        for (size_t i = 0; i < l1.size(); i++)
            store<uint64_t>(bytes.data() + i * 8, l1[i]);
        if (int error = co_await image_.media_.write(header_.l1_offset, bytes)) co_return error;
    }
    if (rewrite_snapshots) {
        bytes = encode_snapshots(snapshots);
        bytes.resize(round_up(bytes.size(), cluster()));
        if (int error = co_await image_.media_.write(header_.snapshots_offset, bytes)) co_return error;
    }
    co_return 0;
}

// ---- What is free

Task<int> Revision::give_back(uint64_t from, uint64_t until, uint64_t &end) {
    end = 0;
    until = std::min(until, round_up(image_.media_.size(), cluster()));
    std::vector<Range> part{{from, until - from}};
    if (int error = co_await refcounts_->load(part)) co_return error;
    Range hole{from, 0};
    for (uint64_t at = from; at < until; at += cluster()) {
        bool used = refcounts_->get(at) != 0;
        if (used) end = at + cluster();
        if (hole.bytes != 0 && (used || hole.bytes >= DISCARD_BYTES)) {
            co_await image_.media_.discard(hole.offset, hole.bytes);
            hole.bytes = 0;
        }
        if (used) continue;
        if (hole.bytes == 0) hole.offset = at;
        hole.bytes += cluster();
    }
    if (hole.bytes != 0)
        co_await image_.media_.discard(hole.offset, std::min(hole.end(), image_.media_.size()) - hole.offset);
    co_return 0;
}

} // namespace us::qcow2
