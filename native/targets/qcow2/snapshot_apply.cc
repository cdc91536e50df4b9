#include <cerrno>

#include "targets/qcow2/revision.h"

namespace us::qcow2 {

Task<int> Image::snapshot_apply(Executor &executor, std::string which) {
    int error = 0;
    {
        Standstill standstill(*this);
        error = co_await standstill.begin(executor, false);
        if (error == 0) error = co_await return_to_snapshot(executor, which);
    }
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

// What the disk leads to loses a reference, what the snapshot leads to has one more. The state of a virtual
// machine, which lies behind the end of its disk, is the snapshot's alone.
Task<int> Image::return_to_snapshot(Executor &executor, const std::string &which) {
    Revision next(*this, executor);
    if (int error = co_await next.begin()) co_return error;
    size_t index = 0;
    if (int error = find_snapshot(next.snapshots, which, index)) co_return error;
    const Snapshot &snapshot = next.snapshots[index];
    uint64_t entries = header_.l1_entries_for(snapshot.size);
    if (snapshot.size > INT64_MAX || entries * 8 > MAX_L1_BYTES) co_return -EFBIG;

    std::vector<uint64_t> words;
    if (int error = co_await next.read_l1(snapshot, words)) co_return error;
    words.resize(entries);
    if (int error = co_await next.refer(next.l1, -1)) co_return error;
    if (int error = co_await next.refer(words, 1)) co_return error;
    if (int error = co_await next.lead_to(std::move(words))) co_return error;
    next.size = snapshot.size;
    int error = co_await next.commit();
    co_return error;
}

} // namespace us::qcow2
