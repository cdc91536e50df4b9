// What is written where the guest's cluster has no place for it: a fresh cluster, or one that it has and that
// nothing is read from yet. Of a cluster whose parts are allocated one by one no more is written than the
// parts that are touched, and those that move with them.
//
//     parts     allocated      allocated      not allocated      not allocated
//     write             ██████████████████████████████
//     in place          ██████████████████████████████▒▒▒▒▒      ▒ what the backing has
//     moved     ▒▒▒▒▒▒▒▒██████████████████████████████▒▒▒▒▒      ▒ and what it was
//
// Data first, then the entry that says so.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "targets/qcow2/image.h"
#include "targets/qcow2/subclusters.h"

namespace us::qcow2 {

// Where the cluster has a place of its own, that may be written to. In a data file each has, once and for
// all.
std::optional<uint64_t> Image::place_for(const Entry &before, uint64_t guest) const {
    if (options_.data) return guest;
    us_qcow2_run first = run_of(before, guest, 0);
    if (!first.exclusive || (!header_.shape.extended && first.kind != US_QCOW2_ZEROS)) return std::nullopt;
    return first.host;
}

// What of it is somewhere in the image.
uint32_t Image::allocated_parts(const Entry &entry, uint64_t guest) const {
    bool extended = header_.shape.extended && !(entry.word & US_QCOW2_COMPRESSED);
    if (extended) return static_cast<uint32_t>(entry.subclusters);
    uint32_t kind = run_of(entry, guest, 0).kind;
    return kind == US_QCOW2_DATA || kind == US_QCOW2_INFLATE ? Subclusters(header_.shape).all() : 0;
}

Image::Entry Image::placed_entry(const Entry &before, uint64_t host, uint32_t allocated) const {
    Entry after{host | US_QCOW2_COPIED, 0};
    if (!header_.shape.extended) return after;
    uint64_t zeros = before.word & US_QCOW2_COMPRESSED ? 0 : before.subclusters >> 32;
    after.subclusters = (zeros & ~uint64_t{allocated}) << 32 | allocated;
    return after;
}

Task<int> Image::write_new(Executor &executor, Entry before, uint64_t guest, uint64_t within,
                           std::span<const std::byte> bytes) {
    std::optional<uint64_t> place = place_for(before, guest);
    uint64_t host = place.value_or(0);
    if (!place) {
        if (int error = co_await table_first(executor, guest)) co_return error;
        if (int error = co_await allocator_.allocate(executor, host)) co_return error;
    }
    Subclusters parts(header_.shape);
    uint32_t allocated = allocated_parts(before, guest),
             touched = parts.touched(within, within + bytes.size());
    int error = co_await write_parts(before, guest, host, place ? touched : touched | allocated,
                                     place ? allocated : 0, within, bytes);
    if (error == 0)
        error = co_await set_entry(executor, guest, placed_entry(before, host, allocated | touched));
    if (error == 0) {
        give_up(before, host);
    } else if (!place) {
        // Nothing has ever led to it.
        co_await allocator_.release(executor, {host, cluster()});
    }
    co_return error;
}

// there: those that are at `host` already, of which no more is written than the bytes.
Task<int> Image::write_parts(Entry before, uint64_t guest, uint64_t host, uint32_t wanted, uint32_t there,
                             uint64_t within, std::span<const std::byte> bytes) {
    Subclusters parts(header_.shape);
    uint64_t end = within + bytes.size();
    // A data file need not be longer than the disk.
    uint64_t most = options_.data ? round_up(header_.size - guest, US_SECTOR_BYTES) : cluster();
    std::vector<Task<int>> tasks;
    while (wanted != 0) {
        Range run = parts.take_run(wanted);
        uint64_t from = run.offset, until = std::min(run.end(), most);
        if (there != 0 && from < within && parts.has(there, within)) from = within;
        if (there != 0 && until > end && parts.has(there, end - 1)) until = end;
        tasks.push_back(write_filled(before, guest, host, {from, until - from}, within, bytes));
    }
    std::vector<int> errors = co_await all(std::move(tasks));
    for (int error : errors)
        if (error != 0) co_return error;
    co_return 0;
}

// What of the range is not in `bytes`, which begin at `within`, stays what it was.
Task<int> Image::write_filled(Entry before, uint64_t guest, uint64_t host, Range range, uint64_t within,
                              std::span<const std::byte> bytes) {
    uint64_t end = within + bytes.size(), from = std::max(range.offset, within),
             until = std::min(range.end(), end);
    if (from == range.offset && until == range.end()) {
        int error = co_await data().write(host + from, bytes.subspan(from - within, range.bytes));
        co_return error;
    }
    std::vector<std::byte> filled(range.bytes);
    if (int error = co_await read_cluster(before, guest, range.offset, filled)) co_return error;
    if (from < until)
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from - within), until - from,
                    filled.begin() + static_cast<std::ptrdiff_t>(from - range.offset));
    int error = co_await data().write(host + range.offset, filled);
    co_return error;
}

} // namespace us::qcow2
