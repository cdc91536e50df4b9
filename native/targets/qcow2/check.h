// Whether an image is consistent: every cluster's refcount against the references that are found, and every
// entry of every table against the specification. What `qemu-img check` calls corruptions and leaks, and
// counts as it does.
//
//     references    header, L1 and L2 tables, guest clusters, snapshots, bitmaps, refcount table and blocks
//     refcounts     refcount table ─▶ refcount blocks
//
//     more references than refcounts    corruption: a cluster in use may be given away again
//     fewer                             leak: space lost, and no harm
//     COPIED without refcount 1         corruption: a write in place would change a snapshot, or the reverse
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/sparse_array.h"

namespace us::qcow2 {

struct Finding {
    bool corruption = false; // else a leak
    std::string text;
};

struct CheckReport {
    int error = 0; // -errno: the image could not be read, and nothing below is complete
    uint64_t corruptions = 0, leaks = 0;
    // Clusters with refcounts behind the media's end, to which nothing leads: leaks as soon as it is longer.
    // Neither we nor qemu-img count them before.
    uint64_t leaks_behind = 0;
    std::vector<Finding> findings; // the first MAX_FINDINGS
    // The first corruption that is more than refcounts and COPIED bits, which counting alone sets right. Two
    // tables in one cluster are one, though neither we nor qemu-img count them where the refcount agrees.
    std::optional<std::string> contradiction;

    uint64_t total_clusters = 0; // of the guest's disk
    uint64_t allocated_clusters = 0, compressed_clusters = 0, fragmented_clusters = 0;
    uint64_t image_end = 0; // bytes: behind the last cluster in use

    static constexpr size_t MAX_FINDINGS = 1000;
};

// How many references lead to each cluster, by its index: what its refcount has to be.
using References = SparseArray<uint64_t>;

// Reads all metadata. Memory: a few bytes for each cluster that is referred to, however long the media is.
Task<CheckReport> check(Media &media, const Header &header);
// references: empty; complete when the report tells of no contradiction.
Task<CheckReport> check(Media &media, const Header &header, References &references);

} // namespace us::qcow2
