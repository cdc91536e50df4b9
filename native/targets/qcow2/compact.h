// An image made as small as it can be, whether it is in use or not. Its disk and its snapshots stay what they
// are at every moment, and whatever moment a power cut comes at.
//
//     zeros      the guest's clusters that hold nothing else are given up, and read zeros by their entries
//     tables     those that lie behind all that the image needs move to free clusters before: revision.h
//     clusters   of the guest the same, one by one, each as if it were written anew: image.h
//     holes      what is free is given back to what the image lies on
//
//     │ header │ table │ hole │ data │ hole │ data │ table │ hole │ data │
//     │ header │ table │ table │ data │ data │ data │                          what is behind is free
//
// Clusters with more than one reference, compressed ones, bitmaps, and L2 tables that a snapshot shares stay
// where they are; what lies before the last of these does, too, as no file is shorter for its moving.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "targets/qcow2/image.h"

namespace us::qcow2 {

// Of any thread: how far it is, and whether anybody still wants it.
struct Compaction {
    enum Phase : uint32_t { zeros, tables, clusters, holes };

    std::atomic<uint32_t> phase{zeros};
    std::atomic<uint64_t> done{0}, total{0}; // of this phase, in bytes of the disk or of the image
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> waits{0}; // odd: for the requests of all others

    // What was done, in bytes.
    std::atomic<uint64_t> zeroed{0}, moved{0}, moved_tables{0};
    std::atomic<uint64_t> end{0}; // behind the last cluster in use; 0: not known
};

// 0 or -errno: -EROFS and -EUCLEAN as a write; -ENOTSUP with a data file, where the guest's clusters lie;
// -ECANCELED once it was stopped. Whatever was done until then holds.
Task<int> compact(Image &image, Executor &executor, Compaction &compaction);

} // namespace us::qcow2
