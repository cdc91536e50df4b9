// The disk grows while it is in use. Until its size in the header says so, nobody sees what is made ready:
//
//     an L1 table that is long enough (revision.h) ─▶ zeros where the image or its backing has anything else
//     behind the old end ─▶ rounds ─▶ the header's size
#include <algorithm>
#include <cerrno>

#include "targets/qcow2/revision.h"

namespace us::qcow2 {

Task<int> Image::resize(Executor &executor, uint64_t size) {
    if (size % US_SECTOR_BYTES != 0 || size > INT64_MAX) co_return -EINVAL;
    int error = 0;
    {
        Standstill standstill(*this);
        error = co_await standstill.begin(executor, false);
        if (error == 0) error = co_await grow(executor, size);
    }
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

Task<int> Image::grow(Executor &executor, uint64_t size) {
    bool sizes_known = header_.version >= 3 || snapshots_.snapshots.empty();
    if (size < header_.size || header_.shape.data_file || !sizes_known) co_return -ENOTSUP;
    if (size == header_.size) co_return 0;
    if (header_.l1_entries_for(size) * 8 > MAX_L1_BYTES) co_return -EFBIG;
    if (int error = co_await grow_l1(executor, size)) co_return error;
    if (int error = co_await clear_behind(executor, size)) co_return error;
    int error = co_await set_size(executor, size);
    co_return error;
}

// Behind the disk's end there may be the state of a virtual machine, which a snapshot has left there that was
// applied by QEMU.
Task<int> Image::grow_l1(Executor &executor, uint64_t size) {
    uint64_t has = header_.l1_entries_for(header_.size), wants = header_.l1_entries_for(size);
    Revision next(*this, executor);
    if (int error = co_await next.begin()) co_return error;
    std::vector<uint64_t> words = next.l1,
                          behind(words.begin() + static_cast<std::ptrdiff_t>(has), words.end());
    bool leads_behind = std::any_of(behind.begin(), behind.end(), [](uint64_t word) { return word != 0; });
    if (!leads_behind && words.size() >= wants) co_return 0;
    words.resize(has);
    words.resize(std::max<uint64_t>(wants, next.l1.size()));
    next.l1 = words;
    if (leads_behind) {
        if (int error = co_await next.refer(behind, -1)) co_return error;
        if (int error = co_await next.lead_to(std::move(words))) co_return error;
    }
    int error = co_await next.commit();
    co_return error;
}

// As far as anything else may be there: to the end of what the last L2 table speaks of, and of the backing.
Task<int> Image::clear_behind(Executor &executor, uint64_t size) {
    uint64_t backed = options_.backing ? options_.backing->size() : 0;
    uint64_t end = std::min(size, std::max(round_up(header_.size, header_.l2_span()), backed));
    if (int error = co_await clear_tail(executor, header_.size)) co_return error;
    std::vector<std::byte> zeros(cluster());
    for (uint64_t guest = round_up(header_.size, cluster()); guest < end; guest += cluster()) {
        Entry entry;
        if (int error = co_await find(executor, guest, entry)) co_return error;
        us_qcow2_run run = run_of(entry, guest, 0);
        bool whole = run.length == cluster();
        if (whole && run.kind == US_QCOW2_UNALLOCATED && guest >= backed) continue;
        int error = 0;
        if (header_.version >= 3)
            error = co_await clear_cluster(executor, guest, false);
        else
            error = co_await write_part(executor, guest, 0, zeros);
        if (error != 0) co_return error;
    }
    co_return 0;
}

// From there to the end of its cluster.
Task<int> Image::clear_tail(Executor &executor, uint64_t from) {
    uint64_t within = from % cluster();
    if (within == 0) co_return 0;
    Entry entry;
    std::vector<std::byte> tail(cluster() - within);
    if (int error = co_await find(executor, from - within, entry)) co_return error;
    if (int error = co_await read_cluster(entry, from - within, within, tail)) co_return error;
    if (std::all_of(tail.begin(), tail.end(), [](std::byte byte) { return byte == std::byte{0}; }))
        co_return 0;
    std::fill(tail.begin(), tail.end(), std::byte{0});
    int error = co_await write_part(executor, from - within, within, tail);
    co_return error;
}

Task<int> Image::set_size(Executor &executor, uint64_t size) {
    Revision next(*this, executor);
    if (int error = co_await next.begin()) co_return error;
    // Of snapshots that do not say their own size it is the disk's: they say it from now on.
    for (const Snapshot &snapshot : next.snapshots)
        if (snapshot.extra.size() < 16) next.rewrite_snapshots = true;
    next.size = size;
    int error = co_await next.commit();
    co_return error;
}

} // namespace us::qcow2
