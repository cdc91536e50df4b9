#include <algorithm>
#include <atomic>
#include <cerrno>

#include "targets/qcow2/bitmaps.h"
#include "targets/qcow2/entry_range.h"
#include "targets/qcow2/image.h"

namespace us::qcow2 {

// What is not known clears itself, and bitmaps, which are not kept, are no longer to be relied upon: the
// image says so before anything changes.
Task<int> Image::begin_writing() {
    // A dirty image's refcounts may be too low: what they call free may be in use.
    if (corrupt() || header_.has(INCOMPATIBLE_DIRTY)) co_return -EUCLEAN;
    if (int error = co_await distrust_bitmaps()) co_return error;
    uint64_t keeps = header_.autoclear & (AUTOCLEAR_DATA_FILE_RAW | AUTOCLEAR_BITMAPS);
    int error = 0;
    if (header_.autoclear != keeps) error = co_await write_field(media_, HeaderField::autoclear(keeps));
    if (error == 0) header_.autoclear = keeps;
    writing_ = error == 0;
    co_return error;
}

Task<int> Image::distrust_bitmaps() {
    if (!header_.bitmaps) co_return 0;
    const Range &range = header_.bitmaps->directory;
    // To the end of its last sector, which is its own.
    std::vector<std::byte> sectors(round_up(range.bytes, US_SECTOR_BYTES));
    if (int error = co_await media_.read(range.offset, sectors)) co_return error;
    std::span<std::byte> directory = std::span(sectors).first(range.bytes);
    std::vector<Bitmap> bitmaps;
    if (parse_bitmaps(directory, header_, bitmaps)) co_return -EUCLEAN;
    for (const Bitmap &bitmap : bitmaps)
        mark_in_use(directory, bitmap);
    if (int error = co_await media_.write(range.offset, sectors)) co_return error;
    int error = co_await media_.flush();
    co_return error;
}

// Says so to whoever opens it next. Whether that reaches the disk or not, nothing is written from here on.
Task<int> Image::contradicted(Executor &executor) {
    std::unique_lock lock(mutex_);
    if (std::exchange(corrupt_, true)) co_return 0;
    if (mapped_) options_.map->close(); // for good
    if (header_.version < 3) co_return 0;
    lock.unlock();
    uint64_t bits = header_.incompatible | INCOMPATIBLE_CORRUPT;
    int error = co_await first_sector_.write(executor, HeaderField::incompatible(bits));
    co_return error;
}

Task<int> Image::write(Executor &executor, uint64_t offset, std::span<const std::byte> from) {
    Turns::Ticket turn =
        co_await turns_.begin(executor, offset / cluster(), header_.clusters(offset + from.size()), false);
    int error = lies_inside(offset, from.size()) ? 0 : -EINVAL;
    uint64_t within = offset % cluster();
    if (error == 0 && within + from.size() <= cluster())
        error = co_await write_part(executor, offset - within, within, from);
    else if (error == 0)
        error = co_await write_many(executor, offset, from);
    turns_.end(turn);
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

// Tables that nobody writes would outgrow their cache.
Task<int> Image::may_change(Executor &executor) {
    if (!writing_) co_return -EROFS;
    if (corrupt()) co_return -EUCLEAN;
    int error = 0;
    if (cache_.crowded()) error = co_await flush(executor);
    co_return error;
}

Task<int> Image::write_part(Executor &executor, uint64_t guest, uint64_t within,
                            std::span<const std::byte> bytes) {
    Entry before;
    if (int error = co_await may_change(executor)) co_return error;
    if (int error = co_await find(executor, guest, before)) co_return error;
    if (int error = check_place(before, guest, within)) co_return error;
    us_qcow2_run run = run_of(before, guest, within);
    if (run.kind == US_QCOW2_DATA && run.exclusive && run.length >= bytes.size()) {
        show(before, guest, within, bytes.size());
        int error = co_await data().write(run.host, bytes);
        co_return error;
    }
    int error = co_await write_new(executor, before, guest, within, bytes);
    co_return error;
}

// What is written for the guest must not be one of the image's own tables.
int Image::check_place(const Entry &before, uint64_t guest, uint64_t within) const {
    bool placed = before.word & US_QCOW2_HOST_MASK && !(before.word & US_QCOW2_COMPRESSED);
    bool overlaps = placed && !options_.data && metadata_.has(before.word & US_QCOW2_HOST_MASK);
    return overlaps || run_of(before, guest, within).kind == US_QCOW2_BAD ? -EUCLEAN : 0;
}

// Where the cluster has a place of its own that nothing is read from. In a data file each has, once and for
// all.
std::optional<uint64_t> Image::place_for(const Entry &before, uint64_t guest) const {
    if (options_.data) return guest;
    us_qcow2_run first = run_of(before, guest, 0);
    bool reserved = first.kind != US_QCOW2_INFLATE && first.exclusive && !(before.subclusters & 0xffffffff) &&
                    (header_.shape.extended || first.kind == US_QCOW2_ZEROS);
    if (!reserved) return std::nullopt;
    return first.host;
}

// The whole cluster anew: where it has a place of its own that nothing is read from, there; else in a fresh
// one.
Task<int> Image::write_new(Executor &executor, Entry before, uint64_t guest, uint64_t within,
                           std::span<const std::byte> bytes) {
    std::vector<std::byte> whole;
    if (bytes.size() < cluster()) {
        if (before.word & US_QCOW2_COPIED) co_await still(executor, guest);
        if (int error = co_await read_cluster(before, guest, whole)) co_return error;
    }
    whole.resize(cluster());
    std::copy(bytes.begin(), bytes.end(), whole.begin() + static_cast<std::ptrdiff_t>(within));
    // A data file need not be longer than the disk.
    if (options_.data) whole.resize(std::min(cluster(), round_up(header_.size - guest, US_SECTOR_BYTES)));

    std::optional<uint64_t> place = place_for(before, guest);
    uint64_t host = place.value_or(0);
    if (!place) {
        if (int error = co_await table_first(executor, guest)) co_return error;
        if (int error = co_await allocator_.allocate(executor, host)) co_return error;
    }
    int error = co_await data().write(host, whole);
    if (error == 0)
        error = co_await set_entry(executor, guest,
                                   {host | US_QCOW2_COPIED, header_.shape.extended ? 0xffffffff : 0u, 0});
    if (error == 0) {
        give_up(before, host);
    } else if (!place) {
        // Nothing has ever led to it.
        co_await allocator_.release(executor, {host, cluster()});
    }
    co_return error;
}

// What `before` led to and the new entry does not is free once no disk leads to it.
void Image::give_up(const Entry &before, uint64_t keeps_host) {
    Range range = entry_range(header_, before.word, before.subclusters);
    if (range.offset == 0 || range.offset == keeps_host) return;
    std::lock_guard lock(mutex_);
    given_up_.push_back(range);
}

Task<int> Image::set_entry(Executor &executor, uint64_t guest, Entry entry) {
    hide(guest);
    uint64_t table = 0;
    if (int error = co_await own_table(executor, guest / header_.l2_span(), table)) co_return error;
    uint64_t bytes = us_qcow2_entry_bytes(&header_.shape);
    uint64_t place = table + guest / cluster() % us_qcow2_entries(&header_.shape) * bytes;
    TableCache::Pin slice;
    if (int error = co_await cache_.get(executor, place, TableKind::l2, slice)) co_return error;
    std::unique_lock lock(cache_.mutex());
    std::byte *at = slice.data() + place % cache_.slice_bytes();
    // A server that is killed between the two words leaves no subcluster allocated that has no place.
    bool placed = entry.word & (US_QCOW2_HOST_MASK | US_QCOW2_COPIED);
    if (header_.shape.extended && !placed) store<uint64_t>(at + 8, entry.subclusters);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    store<uint64_t>(at, entry.word);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (header_.shape.extended && placed) store<uint64_t>(at + 8, entry.subclusters);
    slice.changed();
    if (options_.map) options_.map->set_clean(false);
    lock.unlock();
    if (options_.map) entry.generation = options_.map->generation();
    show(entry, guest, 0, cluster());
    co_return 0;
}

// Before the first cluster that it leads to gets its place: so that it lies there as QEMU has it, and not
// between pieces of the guest's data.
Task<int> Image::table_first(Executor &executor, uint64_t guest) {
    uint64_t table = 0;
    int error = co_await own_table(executor, guest / header_.l2_span(), table);
    co_return error;
}

// The L2 table, made or copied when it is not this image's active one alone.
Task<int> Image::own_table(Executor &executor, uint64_t l1_index, uint64_t &table) {
    std::unique_lock lock(mutex_);
    for (;;) {
        uint64_t word = l1_.get(l1_index);
        table = word & US_QCOW2_HOST_MASK;
        if (table != 0 && word & US_QCOW2_COPIED) co_return 0;
        if (!making_tables_.contains(l1_index)) break;
        co_await table_made_.wait(executor, lock);
        lock.lock();
    }
    making_tables_.insert(l1_index);
    lock.unlock();
    int error = co_await make_table(executor, l1_index, table);
    lock.lock();
    making_tables_.erase(l1_index);
    table_made_.wake();
    if (error == 0) table = l1_.get(l1_index) & US_QCOW2_HOST_MASK;
    co_return error;
}

Task<int> Image::make_table(Executor &executor, uint64_t l1_index, uint64_t shared) {
    uint64_t host = 0;
    if (int error = co_await allocator_.allocate(executor, host)) co_return error;
    cache_.forget_table(host);
    std::vector<std::byte> content(cluster());
    int error = 0;
    for (uint64_t at = 0; shared != 0 && at < cluster() && error == 0; at += cache_.slice_bytes()) {
        TableCache::Pin slice;
        error = co_await cache_.get(executor, shared + at, TableKind::l2, slice);
        if (error != 0) break;
        std::lock_guard lock(cache_.mutex());
        std::copy_n(slice.data(), cache_.slice_bytes(), content.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (error == 0) error = co_await media_.write(host, content);
    if (error == 0) error = co_await allocator_.write_refcount(executor, host);
    if (error == 0) error = co_await media_.flush();
    if (error != 0) {
        co_await allocator_.release(executor, {host, cluster()});
        co_return error;
    }
    // A write that fails may have reached the disk: so the table's cluster stays taken, whatever becomes of
    // it.
    metadata_.add(host);
    error = co_await l1_.set(executor, l1_index, host | US_QCOW2_COPIED);
    if (error == 0 && shared != 0) {
        metadata_.remove(shared); // a snapshot's at most, of which refcounts know
        std::lock_guard lock(mutex_);
        given_up_.push_back({shared, cluster()});
    }
    co_return error;
}

Task<int> Image::clear_cluster(Executor &executor, uint64_t guest, bool keep) {
    Entry before;
    if (int error = co_await may_change(executor)) co_return error;
    if (int error = co_await find(executor, guest, before)) co_return error;
    us_qcow2_run run = run_of(before, guest, 0);
    if (run.kind == US_QCOW2_BAD) co_return -EUCLEAN;
    if (data_is_raw()) {
        int error = co_await clear_raw(executor, guest);
        co_return error;
    }
    bool plain = run.length == cluster() && before.subclusters == 0;
    if (run.kind == US_QCOW2_UNALLOCATED && plain && !options_.backing) co_return 0;
    uint64_t host = keep && run.exclusive ? before.word & US_QCOW2_HOST_MASK : 0;
    if (host == 0 && run.kind == US_QCOW2_ZEROS && plain && !(before.word & US_QCOW2_HOST_MASK)) co_return 0;
    Entry after{host != 0 ? host | US_QCOW2_COPIED : 0, 0, 0};
    if (header_.shape.extended)
        after.subclusters = 0xffffffff00000000;
    else if (header_.version >= 3)
        after.word |= US_QCOW2_ZERO;
    int error = co_await set_entry(executor, guest, after);
    if (error == 0) give_up(before, host);
    co_return error;
}

// A raw data file is the same disk to those who know nothing of the image.
Task<int> Image::clear_raw(Executor &executor, uint64_t guest) {
    std::vector<std::byte> zeros(std::min(cluster(), round_up(header_.size - guest, US_SECTOR_BYTES)));
    int error = co_await write_part(executor, guest, 0, zeros);
    co_return error;
}

Task<int> Image::zero(Executor &executor, uint64_t offset, uint64_t length, bool keep) {
    Turns::Ticket turn =
        co_await turns_.begin(executor, offset / cluster(), header_.clusters(offset + length), false);
    int error = lies_inside(offset, length) ? 0 : -EINVAL;
    std::vector<std::byte> zeros;
    for (uint64_t end = offset + length; offset < end && error == 0;) {
        uint64_t within = offset % cluster(), bytes = std::min(cluster() - within, end - offset);
        // The last one need not be whole: what is behind the disk's end is nobody's.
        bool whole = within == 0 && (bytes == cluster() || offset + bytes == header_.size);
        us_qcow2_run run{};
        if (whole && header_.version >= 3) {
            error = co_await clear_cluster(executor, offset, keep);
        } else if (error = co_await look_up(executor, offset, run);
                   error == 0 && (run.length < bytes || !reads_zeros(run))) {
            zeros.assign(bytes, std::byte{0});
            error = co_await write_part(executor, offset - within, within, zeros);
        }
        offset += bytes;
    }
    turns_.end(turn);
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

bool Image::reads_zeros(const us_qcow2_run &run) const {
    return run.kind == US_QCOW2_ZEROS || (run.kind == US_QCOW2_UNALLOCATED && !options_.backing);
}

Task<int> Image::discard(Executor &executor, uint64_t offset, uint64_t length) {
    uint64_t first = header_.clusters(offset), end = header_.clusters(offset + length);
    // Version 2 has no zero clusters: with a backing, its old bytes would come back.
    if ((header_.version < 3 && options_.backing) || first >= end) co_return 0;
    Turns::Ticket turn = co_await turns_.begin(executor, first, end, false);
    int error = lies_inside(offset, length) ? 0 : -EINVAL;
    if (offset + length != header_.size) end = (offset + length) / cluster();
    for (uint64_t i = first; i < end && error == 0; i++)
        error = co_await clear_cluster(executor, i * cluster(), false);
    turns_.end(turn);
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

} // namespace us::qcow2
