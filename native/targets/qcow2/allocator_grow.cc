#include <algorithm>
#include <cerrno>

#include "targets/qcow2/allocator.h"

namespace us::qcow2 {

// Whoever changes the table has it to himself.
Task<int> Allocator::grow(Executor &executor) {
    // Another change has led the header elsewhere since.
    if (larger_ && larger_->replaces != table_.range()) larger_.reset();
    if (!larger_) {
        if (int error = co_await make_larger_table()) co_return error;
    }
    int error = co_await move_to_larger_table(executor);
    co_return error;
}

Task<int> Allocator::make_larger_table() {
    uint64_t cluster = h_.cluster_bytes(), per = h_.refcounts_per_block();
    Range old = table_.range();
    LargerTable larger{{}, old, table_.words(), 0};
    uint64_t nr_old = larger.words.size(), clusters = old.bytes / cluster;
    // By half at least, so that this is rare.
    clusters = std::min(clusters + (clusters + 1) / 2, MAX_REFCOUNT_TABLE_BYTES / cluster);
    uint64_t blocks = 1;
    while (blocks * per < clusters + blocks)
        blocks++;
    if (clusters * cluster <= old.bytes || nr_old * per >= MAX_HOST / cluster) co_return -ENOSPC;
    larger.range = {nr_old * per * cluster, clusters * cluster};
    larger.new_end = larger.range.end() + blocks * cluster;
    for (uint64_t at = larger.range.offset; at < larger.new_end; at += cluster)
        if (metadata_.has(at)) co_return -EUCLEAN;
    larger.words.resize(clusters * cluster / 8);
    for (uint64_t i = 0; i < blocks; i++)
        larger.words[nr_old + i] = larger.range.end() + i * cluster;

    std::vector<std::byte> bytes(larger.range.bytes);
    for (size_t i = 0; i < larger.words.size(); i++)
        store<uint64_t>(bytes.data() + i * 8, larger.words[i]);
    if (int error = co_await media_.write(larger.range.offset, bytes)) co_return error;
    for (uint64_t i = 0; i < blocks; i++) {
        bytes.assign(cluster, std::byte{0});
        uint64_t used = std::min(clusters + blocks - i * per, per);
        for (uint64_t k = 0; k < used; k++)
            set_refcount(bytes.data(), h_.refcount_order, k, 1);
        cache_.forget_table(larger.words[nr_old + i]);
        if (int error = co_await media_.write(larger.words[nr_old + i], bytes)) co_return error;
    }
    if (int error = co_await media_.flush()) co_return error;
    larger_ = std::move(larger);
    co_return 0;
}

// A write of the header that fails may have reached the disk. Until one has succeeded nothing changes in
// either table: the blocks are the same.
Task<int> Allocator::move_to_larger_table(Executor &executor) {
    uint64_t cluster = h_.cluster_bytes();
    HeaderField field = HeaderField::refcount_table(larger_->range, cluster);
    if (int error = co_await first_sector_.write(executor, std::move(field))) co_return error;
    LargerTable larger = std::move(*larger_);
    larger_.reset();
    for (uint64_t at = larger.range.offset; at < larger.new_end; at += cluster)
        metadata_.add(at);
    h_.refcount_table_offset = larger.range.offset;
    h_.refcount_table_clusters = static_cast<uint32_t>(larger.range.bytes / cluster);
    table_.replace(larger.range, std::move(larger.words));
    for (uint64_t at = larger.replaces.offset; at < larger.replaces.end(); at += cluster)
        metadata_.remove(at);
    int error = co_await release(executor, larger.replaces);
    co_return error;
}

Task<int> Allocator::settle(Executor &executor) {
    if (larger_) {
        if (int error = co_await grow(executor)) co_return error;
    }
    int error = co_await table_.settle(executor);
    co_return error;
}

} // namespace us::qcow2
