#include <cerrno>

#include "targets/qcow2/revision.h"

namespace us::qcow2 {

Task<int> Image::snapshot_delete(Executor &executor, std::string which) {
    int error = 0;
    {
        Standstill standstill(*this);
        error = co_await standstill.begin(executor, true);
        if (error == 0) error = co_await drop_snapshot(executor, which);
    }
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

// Everything that the snapshot leads to has one reference less: what the disk alone leads to then is marked
// as its own again.
Task<int> Image::drop_snapshot(Executor &executor, const std::string &which) {
    Revision next(*this, executor);
    if (int error = co_await next.begin()) co_return error;
    size_t index = 0;
    if (int error = find_snapshot(next.snapshots, which, index)) co_return error;
    Snapshot snapshot = next.snapshots[index];

    std::vector<uint64_t> gone;
    if (int error = co_await next.read_l1(snapshot, gone)) co_return error;
    if (int error = co_await next.refer(gone, -1)) co_return error;
    if (int error = co_await next.drop(snapshot.l1())) co_return error;
    std::vector<uint64_t> words = next.l1;
    if (int error = co_await next.lead_to(std::move(words))) co_return error;

    next.snapshots.erase(next.snapshots.begin() + static_cast<std::ptrdiff_t>(index));
    next.rewrite_snapshots = true;
    int error = co_await next.commit();
    co_return error;
}

} // namespace us::qcow2
