#include "targets/qcow2/image.h"

#include <algorithm>
#include <cerrno>

#include "targets/qcow2/inflate.h"

namespace us::qcow2 {

Image::Image(Media &media, Header header, ImageOptions options)
    : watched_(media), header_(std::move(header)), options_(options), first_sector_(media_),
      cache_(media_, header_.cluster_bytes(), options.cache_bytes), l1_(media_, header_.l1()),
      refcount_table_(media_, header_.refcount_table()), metadata_(header_.cluster_bytes()),
      allocator_(media_, header_, first_sector_, cache_, refcount_table_, metadata_) {}

Task<int> Image::load() {
    if ((header_.shape.data_file != 0) != (options_.data != nullptr)) co_return -EINVAL;
    if (int error = co_await l1_.load()) co_return error;
    if (int error = co_await refcount_table_.load()) co_return error;
    for (uint64_t i = 0; i < refcount_table_.size(); i++)
        if (refcount_table_.get(i) % cluster() != 0) co_return -EUCLEAN;
    int error = co_await load_metadata();
    co_return error;
}

Task<int> Image::load_metadata() {
    SnapshotsRead read = co_await read_snapshots(media_, header_);
    if (read.error != 0 || read.refusal) co_return read.refusal ? -EUCLEAN : read.error;
    snapshots_ = std::move(read.table);
    note_metadata();
    co_return 0;
}

// While nothing is written.
void Image::note_metadata() {
    std::vector<Range> tables{{0, cluster()}, header_.l1(), header_.refcount_table()};
    if (header_.bitmaps) tables.push_back(header_.bitmaps->directory);
    for (uint64_t word : refcount_table_.words())
        if (word != 0) tables.push_back({word, cluster()});
    for (uint64_t word : l1_.words())
        if (uint64_t table = word & US_QCOW2_HOST_MASK) tables.push_back({table, cluster()});
    tables.push_back(snapshots_.range);
    for (const Snapshot &snapshot : snapshots_.snapshots)
        tables.push_back(snapshot.l1());
    if (metadata_.replace(tables)) return;
    std::lock_guard lock(mutex_);
    corrupt_ = true; // to be read, and not written to
}

// What the L2 table says of the cluster; all zeros without one.
Task<int> Image::find(Executor &executor, uint64_t guest, Entry &entry) {
    std::unique_lock lock(mutex_);
    entry = {};
    if (options_.map) entry.generation = options_.map->generation();
    uint64_t table = l1_.get(guest / header_.l2_span()) & US_QCOW2_HOST_MASK;
    if (table == 0) co_return 0;
    if (table % cluster() != 0) co_return -EUCLEAN;
    uint64_t number = ++finds_begun_;
    finds_.insert(number);
    lock.unlock();
    int error = co_await find_in(executor, table, guest, entry);
    lock.lock();
    finds_.erase(number);
    find_ended_.wake();
    co_return error;
}

Task<int> Image::find_in(Executor &executor, uint64_t table, uint64_t guest, Entry &entry) {
    uint64_t bytes = us_qcow2_entry_bytes(&header_.shape);
    uint64_t place = table + guest / cluster() % us_qcow2_entries(&header_.shape) * bytes;
    TableCache::Pin slice;
    if (int error = co_await cache_.get(executor, place, TableKind::l2, slice)) co_return error;
    std::lock_guard lock(cache_.mutex());
    const std::byte *at = slice.data() + place % cache_.slice_bytes();
    entry.word = qcow2::load<uint64_t>(at);
    if (header_.shape.extended) entry.subclusters = qcow2::load<uint64_t>(at + 8);
    if (mapped_ && !writing_) show_beside(slice, place, guest, entry.generation);
    co_return 0;
}

Task<int> Image::read_backing(uint64_t guest, std::span<std::byte> into) {
    if (options_.backing) {
        int error = co_await options_.backing->read(guest, into); // zeros behind its end
        co_return error;
    }
    std::fill(into.begin(), into.end(), std::byte{0});
    co_return 0;
}

Task<int> Image::read_run(us_qcow2_run run, uint64_t guest, std::span<std::byte> into) {
    int error = 0;
    switch (run.kind) {
    case US_QCOW2_UNALLOCATED:
        error = co_await read_backing(guest, into);
        co_return error;
    case US_QCOW2_DATA:
        error = co_await data().read(run.host, into);
        co_return error;
    case US_QCOW2_ZEROS:
        std::fill(into.begin(), into.end(), std::byte{0});
        co_return 0;
    case US_QCOW2_INFLATE:
        error = co_await read_compressed(run, guest, into);
        co_return error;
    default:
        co_return -EUCLEAN;
    }
}

Task<int> Image::read_compressed(us_qcow2_run run, uint64_t guest, std::span<std::byte> into) {
    uint64_t within = guest % cluster();
    if (options_.inflater) {
        int error =
            co_await options_.inflater->read(media_, header_.compression, run, cluster(), within, into);
        co_return error;
    }
    std::vector<std::byte> data(run.host_bytes), whole(cluster());
    if (int error = co_await media_.read(run.host, data)) co_return error;
    if (!inflate(header_.compression, data, whole)) co_return -EIO;
    std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(within), into.size(), into.begin());
    co_return 0;
}

Task<int> Image::read_cluster(const Entry &entry, uint64_t guest, uint64_t within,
                              std::span<std::byte> into) {
    while (!into.empty()) {
        us_qcow2_run run = run_of(entry, guest, within);
        auto part = into.first(std::min<uint64_t>(run.length, into.size()));
        int error = co_await read_run(run, guest + within, part);
        if (error != 0) co_return error;
        into = into.subspan(part.size());
        within += part.size();
    }
    co_return 0;
}

Task<int> Image::look_up(Executor &executor, uint64_t guest, us_qcow2_run &run) {
    uint64_t within = guest % cluster(), span = header_.l2_span();
    Entry entry;
    bool table = l1_.get(guest / span) & US_QCOW2_HOST_MASK;
    if (int error = co_await find(executor, guest - within, entry)) co_return error;
    run = run_of(entry, guest - within, within);
    if (!table) run.length = span - guest % span;
    co_return run.kind == US_QCOW2_BAD ? -EUCLEAN : 0;
}

Task<int> Image::read_part(Executor &executor, uint64_t offset, std::span<std::byte> into) {
    uint64_t within = offset % cluster();
    Entry entry;
    if (int error = co_await find(executor, offset - within, entry)) co_return error;
    us_qcow2_run run = run_of(entry, offset - within, within);
    show(entry, offset - within, within, into.size());
    int error = 0;
    if (run.length >= into.size())
        error = co_await read_run(run, offset, into);
    else
        error = co_await read_many(executor, offset, into);
    co_return error;
}

Task<int> Image::read(Executor &executor, uint64_t offset, std::span<std::byte> into) {
    Turns::Ticket turn =
        co_await turns_.begin(executor, offset / cluster(), header_.clusters(offset + into.size()), true);
    int error = lies_inside(offset, into.size()) ? 0 : -EINVAL;
    if (error == 0 && offset % cluster() + into.size() <= cluster())
        error = co_await read_part(executor, offset, into);
    else if (error == 0)
        error = co_await read_many(executor, offset, into);
    turns_.end(turn);
    co_return error;
}

} // namespace us::qcow2
