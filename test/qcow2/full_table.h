// An image whose refcount table is about to be full: clusters behind its end have refcounts, although nothing
// leads to them. Tables of small clusters speak of 2 MiB, of which a test need not write all.
#pragma once

#include "sim.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/refcounts.h"

// Leaves so many clusters free. The first of those that have refcounts, by index.
inline uint64_t fill_refcount_table(Bytes &bytes, const us::qcow2::Header &header, uint64_t free) {
    using namespace us::qcow2;
    uint64_t cluster = header.cluster_bytes(), per = header.refcounts_per_block();
    uint64_t places = header.refcount_table().bytes / 8;
    std::vector<uint64_t> blocks;
    for (uint64_t i = 0; i < places; i++) {
        auto block = load<uint64_t>(bytes.data() + header.refcount_table_offset + i * 8);
        if (block == 0) {
            block = round_up(bytes.size(), cluster);
            bytes.resize(block + cluster);
            store<uint64_t>(bytes.data() + header.refcount_table_offset + i * 8, block);
        }
        blocks.push_back(block);
    }
    uint64_t end = header.clusters(bytes.size()), first = end + free;
    for (uint64_t i = 0; i < places * per; i++) {
        std::byte *block = bytes.data() + blocks[i / per];
        if (refcount_at(block, header.refcount_order, i % per) == 0 && (i < end || i >= first))
            set_refcount(block, header.refcount_order, i % per, 1);
    }
    return first;
}
