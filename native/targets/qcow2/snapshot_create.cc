#include <cerrno>

#include "targets/qcow2/revision.h"

namespace us::qcow2 {

namespace {

// As many as QEMU's own tools keep of it, when they look for one.
constexpr size_t MAX_TAG_BYTES = 255;

int check_tag(const std::string &tag, const std::vector<Snapshot> &snapshots) {
    if (tag.empty() || tag.find('\0') != std::string::npos) return -EINVAL;
    if (tag.size() > MAX_TAG_BYTES) return -ENAMETOOLONG;
    for (const Snapshot &snapshot : snapshots)
        if (snapshot.name == tag) return -EEXIST;
    return 0;
}

// 64 bits of VM state, the disk's size, and the count of instructions, of which there is none.
std::vector<std::byte> new_extra() {
    std::vector<std::byte> extra(24);
    store<uint64_t>(extra.data() + 16, UINT64_MAX);
    return extra;
}

} // namespace

Task<int> Image::snapshot_create(Executor &executor, SnapshotRequest request) {
    int error = 0;
    {
        Standstill standstill(*this);
        error = co_await standstill.begin(executor, true);
        if (error == 0) error = co_await take_snapshot(executor, request);
    }
    if (error == -EUCLEAN) co_await contradicted(executor);
    co_return error;
}

// Everything that the disk leads to has one reference more: the snapshot keeps the L2 tables that there are,
// and the disk has copies of those which said of a cluster that it was its alone.
Task<int> Image::take_snapshot(Executor &executor, const SnapshotRequest &request) {
    if (header_.shape.data_file) co_return -ENOTSUP;
    Revision next(*this, executor);
    if (int error = co_await next.begin()) co_return error;
    if (int error = check_tag(request.tag, next.snapshots)) co_return error;
    if (next.snapshots.size() >= MAX_SNAPSHOTS) co_return -EFBIG;

    std::vector<uint64_t> words = next.l1;
    if (int error = co_await next.refer(words, 1)) co_return error;
    Range l1;
    if (int error = co_await next.write_l1(words, l1)) co_return error;
    if (int error = co_await next.lead_to(std::move(words))) co_return error;

    Snapshot snapshot;
    snapshot.l1_offset = l1.offset;
    snapshot.l1_entries = static_cast<uint32_t>(l1.bytes / 8);
    snapshot.id = next_snapshot_id(next.snapshots);
    snapshot.name = request.tag;
    snapshot.seconds = request.seconds;
    snapshot.nanoseconds = request.nanoseconds;
    snapshot.size = next.size;
    snapshot.extra = new_extra();
    next.snapshots.push_back(std::move(snapshot));
    next.rewrite_snapshots = true;
    int error = co_await next.commit();
    co_return error;
}

} // namespace us::qcow2
