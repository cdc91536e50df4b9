// What reads zeros afterwards: by its entry where that can say so, of a whole cluster or of its parts; else
// by zeros that are written.
#include <algorithm>
#include <bit>
#include <cerrno>

#include "targets/qcow2/image.h"
#include "targets/qcow2/subclusters.h"

namespace us::qcow2 {

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
    bool placed = before.word & (US_QCOW2_HOST_MASK | US_QCOW2_COPIED | US_QCOW2_COMPRESSED);
    if (!placed && !options_.backing) co_return 0;
    uint64_t host = keep && run.exclusive ? before.word & US_QCOW2_HOST_MASK : 0;
    Entry after{host != 0 ? host | US_QCOW2_COPIED : 0, 0};
    if (header_.shape.extended)
        after.subclusters = 0xffffffff00000000;
    else if (header_.version >= 3)
        after.word |= US_QCOW2_ZERO;
    if (after == before) co_return 0;
    int error = co_await set_entry(executor, guest, after);
    if (error == 0) give_up(before, host);
    co_return error;
}

// Parts of a cluster with an extended entry that is not compressed. With the last one that lay somewhere its
// place is given up, unless it is to be kept.
Task<int> Image::clear_parts(Executor &executor, uint64_t guest, const Entry &before, uint32_t parts,
                             bool keep) {
    if (int error = co_await may_change(executor)) co_return error;
    auto allocated = static_cast<uint32_t>(before.subclusters),
         zeros = static_cast<uint32_t>(before.subclusters >> 32);
    parts &= options_.backing ? ~zeros : allocated; // others read zeros already
    if (parts == 0) co_return 0;
    allocated &= ~parts;
    bool keeps = allocated != 0 || (keep && run_of(before, guest, 0).exclusive);
    Entry after{keeps ? before.word : 0, uint64_t{zeros | parts} << 32 | allocated};
    int error = co_await set_entry(executor, guest, after);
    if (error == 0) give_up(before, after.word & US_QCOW2_HOST_MASK);
    co_return error;
}

// A raw data file is the same disk to those who know nothing of the image.
Task<int> Image::clear_raw(Executor &executor, uint64_t guest) {
    std::vector<std::byte> zeros(std::min(cluster(), round_up(header_.size - guest, US_SECTOR_BYTES)));
    int error = co_await write_part(executor, guest, 0, zeros);
    co_return error;
}

// By writing them, unless it reads zeros already.
Task<int> Image::write_zeros(Executor &executor, uint64_t guest, uint64_t within, uint64_t length) {
    us_qcow2_run run{};
    if (length == 0) co_return 0;
    if (int error = co_await look_up(executor, guest + within, run)) co_return error;
    if (run.length >= length && reads_zeros(run)) co_return 0;
    std::vector<std::byte> zeros(length);
    int error = co_await write_part(executor, guest, within, zeros);
    co_return error;
}

// Of [start, end) of a cluster: what does not fill a part of it is written.
Task<int> Image::zero_part(Executor &executor, uint64_t guest, uint64_t start, uint64_t end, bool keep) {
    Entry before;
    if (int error = co_await find(executor, guest, before)) co_return error;
    if (run_of(before, guest, start).kind == US_QCOW2_BAD) co_return -EUCLEAN;
    bool by_parts = header_.shape.extended && !(before.word & US_QCOW2_COMPRESSED) && !data_is_raw();
    Subclusters parts(header_.shape);
    // What is behind the disk's end is nobody's.
    uint64_t last = guest + end == header_.size ? cluster() : end;
    uint32_t inside = by_parts ? parts.inside(start, last) : 0;
    if (inside == 0) {
        int error = co_await write_zeros(executor, guest, start, end - start);
        co_return error;
    }
    if (int error = co_await clear_parts(executor, guest, before, inside, keep)) co_return error;
    Range cleared = parts.take_run(inside);
    if (int error = co_await write_zeros(executor, guest, start, cleared.offset - start)) co_return error;
    uint64_t from = std::min(cleared.end(), end);
    int error = co_await write_zeros(executor, guest, from, end - from);
    co_return error;
}

Task<int> Image::zero(Executor &executor, uint64_t offset, uint64_t length, bool keep) {
    Turns::Ticket turn =
        co_await turns_.begin(executor, offset / cluster(), header_.clusters(offset + length), false);
    int error = lies_inside(offset, length) ? 0 : -EINVAL;
    for (uint64_t end = offset + length; offset < end && error == 0;) {
        uint64_t within = offset % cluster(), bytes = std::min(cluster() - within, end - offset);
        // The last one need not be whole.
        bool whole = within == 0 && (bytes == cluster() || offset + bytes == header_.size);
        if (whole && header_.version >= 3)
            error = co_await clear_cluster(executor, offset, keep);
        else
            error = co_await zero_part(executor, offset - within, within, within + bytes, keep);
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
