#include "targets/qcow2/revision.h"

#include <algorithm>
#include <cerrno>

#include "targets/qcow2/entry_range.h"

namespace us::qcow2 {

Task<int> Standstill::begin(Executor &executor, bool shared) {
    turn_ = co_await image_.turns_.begin(executor, 0, UINT64_MAX, shared);
    begun_ = true;
    bool goes_on = true;
    if (image_.mapped_ && !image_.turns_.withdrawn(turn_)) {
        image_.options_.map->close();
        closed_ = true;
        goes_on = co_await nobody_maps(executor);
    }
    if (!image_.turns_.keep(turn_)) co_return -ETIMEDOUT;
    co_return goes_on ? 0 : -ECANCELED;
}

// As a grace period, of which one may lose patience: what is in flight may hang below. False when the queue
// stops.
Task<bool> Standstill::nobody_maps(Executor &executor) {
    constexpr uint64_t LONGEST_PAUSE_NS = 2'000'000;
    Inflight::Older older = image_.options_.map->older();
    uint64_t pause_ns = 20'000;
    while (!image_.options_.map->passed(older) && !image_.turns_.withdrawn(turn_)) {
        bool goes_on = co_await executor.pause(pause_ns);
        if (!goes_on) co_return false;
        pause_ns = std::min(pause_ns * 2, LONGEST_PAUSE_NS);
    }
    co_return true;
}

Standstill::~Standstill() {
    if (!begun_) return;
    if (closed_) image_.options_.map->open(image_.unit_shift());
    if (image_.options_.inflater) image_.options_.inflater->forget();
    image_.turns_.end(turn_);
}

Task<int> Revision::begin() {
    std::unique_lock lock(image_.mutex_);
    while (image_.in_round_) {
        co_await image_.round_ended_.wait(executor_, lock);
        lock.lock();
    }
    image_.in_round_ = true;
    holds_rounds_ = true;
    lock.unlock();
    if (!image_.writing_) co_return -EROFS;
    if (image_.corrupt()) co_return -EUCLEAN;
    if (int error = co_await image_.l1_.settle(executor_)) co_return error;
    if (int error = co_await image_.allocator_.settle(executor_)) co_return error;
    // What the first one sets free, the second one writes.
    for (int i = 0; i < 2; i++)
        if (int error = co_await image_.round(executor_, true)) co_return error;
    header_ = image_.header_;
    size = header_.size;
    l1 = image_.l1_.words();
    snapshots = image_.snapshots();
    refcounts_.emplace(image_.media_, image_.header_, image_.metadata_, image_.refcount_table_.words());
    co_return 0;
}

Revision::~Revision() {
    if (!holds_rounds_) return;
    std::lock_guard lock(image_.mutex_);
    image_.in_round_ = false;
    image_.round_ended_.wake();
}

Task<int> Revision::read_l1(const Snapshot &snapshot, std::vector<uint64_t> &words) {
    Table bytes(snapshot.l1().bytes);
    if (int error = co_await image_.media_.read(snapshot.l1_offset, bytes)) co_return error;
    words.resize(snapshot.l1_entries);
    for (size_t i = 0; i < words.size(); i++)
        words[i] = load<uint64_t>(bytes.data() + i * 8);
    co_return 0;
}

Task<int> Revision::read_table(uint64_t offset, Table &table) {
    if (offset % cluster() != 0) co_return -EUCLEAN;
    table.resize(cluster());
    int error = co_await image_.media_.read(offset, table);
    co_return error;
}

int Revision::ranges_of(const Table &table, std::vector<Range> &ranges) const {
    const us_qcow2_shape &shape = header_.shape;
    for (size_t at = 0; at < table.size(); at += us_qcow2_entry_bytes(&shape)) {
        uint64_t word = load<uint64_t>(table.data() + at);
        uint64_t subclusters = shape.extended ? load<uint64_t>(table.data() + at + 8) : 0;
        if (us_qcow2_entry(&shape, word, subclusters, 0, 0).kind == US_QCOW2_BAD) return -EUCLEAN;
        Range range = entry_range(header_, word, subclusters);
        if (range.bytes != 0) ranges.push_back(range);
    }
    return 0;
}

Task<int> Revision::refer(const std::vector<uint64_t> &words, int references) {
    Table table;
    for (uint64_t word : words) {
        uint64_t offset = word & US_QCOW2_HOST_MASK;
        if (offset == 0) continue;
        if (int error = co_await read_table(offset, table)) co_return error;
        std::vector<Range> ranges{{offset, cluster()}};
        if (int error = ranges_of(table, ranges)) co_return error;
        if (int error = co_await refcounts_->load(ranges)) co_return error;
        for (const Range &range : ranges)
            if (int error = refcounts_->add(range, references)) co_return error;
    }
    co_return 0;
}

Task<int> Revision::drop(const Range &range) {
    std::vector<Range> ranges{range};
    if (int error = co_await refcounts_->load(ranges)) co_return error;
    co_return refcounts_->add(range, -1);
}

// Whether a flag has changed.
bool Revision::mark(Table &table) const {
    bool changed = false;
    for (size_t at = 0; at < table.size(); at += us_qcow2_entry_bytes(&header_.shape)) {
        uint64_t word = load<uint64_t>(table.data() + at), host = word & US_QCOW2_HOST_MASK;
        if (word & US_QCOW2_COMPRESSED || host == 0) continue;
        uint64_t copied = refcounts_->get(host) == 1 ? US_QCOW2_COPIED : 0;
        if ((word & US_QCOW2_COPIED) == copied) continue;
        store<uint64_t>(table.data() + at, (word & ~US_QCOW2_COPIED) | copied);
        changed = true;
    }
    return changed;
}

Task<int> Revision::lead_to_table(uint64_t &word) {
    uint64_t offset = word & US_QCOW2_HOST_MASK;
    Table table;
    if (int error = co_await read_table(offset, table)) co_return error;
    std::vector<Range> ranges{{offset, cluster()}};
    if (int error = ranges_of(table, ranges)) co_return error;
    if (int error = co_await refcounts_->load(ranges)) co_return error;
    if (mark(table)) {
        Range fresh;
        if (int error = co_await write_table(table, fresh)) co_return error;
        if (int error = refcounts_->add(ranges[0], -1)) co_return error;
        offset = fresh.offset;
        new_tables_.push_back(offset);
    }
    word = offset | (refcounts_->get(offset) == 1 ? US_QCOW2_COPIED : 0);
    co_return 0;
}

Task<int> Revision::lead_to(std::vector<uint64_t> words) {
    for (uint64_t &word : words) {
        if (!(word & US_QCOW2_HOST_MASK))
            word = 0;
        else if (int error = co_await lead_to_table(word))
            co_return error;
    }
    l1 = std::move(words);
    co_return 0;
}

// To the end of its last cluster, so that none of what was there before shows. A table without a byte lies
// nowhere, at an address that is none too bad.
Task<int> Revision::write_table(std::span<const std::byte> bytes, Range &where) {
    where = {cluster(), bytes.size()};
    if (bytes.empty()) co_return 0;
    if (int error = co_await refcounts_->place(header_.clusters(bytes.size()), where.offset)) co_return error;
    Table padded(bytes.begin(), bytes.end());
    padded.resize(round_up(padded.size(), cluster()));
    int error = co_await image_.media_.write(where.offset, padded);
    co_return error;
}

Task<int> Revision::write_l1(const std::vector<uint64_t> &words, Range &where) {
    Table bytes(words.size() * 8);
    for (size_t i = 0; i < words.size(); i++)
        store<uint64_t>(bytes.data() + i * 8, words[i]);
    int error = co_await write_table(bytes, where);
    co_return error;
}

Task<int> Revision::place_l1() {
    if (l1 == image_.l1_.words()) co_return 0;
    if (int error = co_await drop(header_.l1())) co_return error;
    Range where;
    if (int error = co_await write_l1(l1, where)) co_return error;
    header_.l1_offset = where.offset;
    header_.l1_entries = static_cast<uint32_t>(l1.size());
    co_return 0;
}

Task<int> Revision::place_snapshots() {
    if (!rewrite_snapshots) co_return 0;
    if (int error = co_await drop(image_.snapshots_.range)) co_return error;
    Table bytes = encode_snapshots(snapshots);
    if (bytes.size() > MAX_SNAPSHOT_TABLE_BYTES || snapshots.size() > MAX_SNAPSHOTS) co_return -EFBIG;
    Range where;
    if (int error = co_await write_table(bytes, where)) co_return error;
    header_.nr_snapshots = static_cast<uint32_t>(snapshots.size());
    header_.snapshots_offset = bytes.empty() ? 0 : where.offset;
    co_return 0;
}

// When it cannot be written, what was there before is; when not even that can be, either may be there, both
// of which are true as long as nothing is changed.
Task<int> Revision::write_header() {
    HeaderField now = HeaderField::tables(header_), before = HeaderField::tables(image_.header_);
    int error = co_await image_.first_sector_.write(executor_, std::move(now));
    if (error == 0) co_return 0;
    int again = co_await image_.first_sector_.write(executor_, std::move(before));
    if (again != 0) image_.writing_ = false;
    co_return error;
}

Task<int> Revision::commit() {
    header_.size = size;
    if (int error = co_await place_l1()) co_return error;
    if (int error = co_await place_snapshots()) co_return error;
    int error = co_await lead();
    co_return error;
}

// From what is to what is going to be, all of which is on its way to the disk.
Task<int> Revision::lead() {
    if (int error = co_await refcounts_->write()) co_return error;
    header_.refcount_table_offset = refcounts_->table_range().offset;
    header_.refcount_table_clusters =
        static_cast<uint32_t>(refcounts_->table_range().bytes / header_.cluster_bytes());
    if (int error = co_await image_.media_.flush()) co_return error;
    if (int error = co_await write_header()) co_return error;
    co_await follow();
    co_return 0;
}

Task<void> Revision::follow() {
    // What the cache has of tables that once were there. As soon as the L1 table leads to the new ones they
    // are read.
    for (uint64_t table : new_tables_)
        image_.cache_.forget_table(table);
    for (uint64_t block : refcounts_->new_blocks())
        image_.cache_.forget_table(block);
    std::unique_lock lock(image_.mutex_);
    Header &header = image_.header_;
    // Reads go on, unless the disk becomes another one.
    if (header.size != header_.size) header.size = header_.size;
    header.l1_offset = header_.l1_offset;
    header.l1_entries = header_.l1_entries;
    header.refcount_table_offset = header_.refcount_table_offset;
    header.refcount_table_clusters = header_.refcount_table_clusters;
    header.nr_snapshots = header_.nr_snapshots;
    header.snapshots_offset = header_.snapshots_offset;
    image_.l1_.replace(header_.l1(), l1);
    image_.refcount_table_.replace(header_.refcount_table(), refcounts_->table());
    if (rewrite_snapshots)
        image_.snapshots_ = {snapshots, {header_.snapshots_offset, encode_snapshots(snapshots).size()}};
    lock.unlock();
    image_.note_metadata();
    // Reads that have seen a table which is free now.
    co_await image_.older_finds(executor_);
    if (refcounts_->lowest_freed() != UINT64_MAX) image_.allocator_.freed_from(refcounts_->lowest_freed());
}

} // namespace us::qcow2
