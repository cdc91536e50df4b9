// A new, empty image. Specification: "Header" to "Cluster mapping"; the order of things is our own:
//
//     header │ refcount table │ refcount blocks │ L1 table │ preallocated: L2 tables │ clusters of the guest
//
// All that the header leads to is written and flushed before the header's first sector is: until then there
// is no image, and a power cut leaves none by halves.
#pragma once

#include "targets/qcow2/header.h"
#include "targets/qcow2/media.h"

namespace us::qcow2 {

struct CreateOptions {
    uint64_t size = 0; // bytes of the guest's disk, a multiple of 512
    uint32_t version = 3;
    uint32_t cluster_bits = 16;
    uint32_t refcount_order = V2_REFCOUNT_ORDER;
    bool extended_l2 = false;
    bool lazy_refcounts = false;
    Compression compression = Compression::zlib;
    std::string backing_name, backing_format; // as the header shall name it
    std::string data_file_name;               // not empty: guest clusters lie there
    bool data_file_raw = false;               // the data file is the disk by itself
    // Every cluster has its place. Where the media may hold old bytes these read as zeros nonetheless.
    bool preallocate_metadata = false;
    bool media_is_zero = false; // known to read zeros wherever nothing has been written
};

struct Created {
    int error = 0;                  // -errno
    std::optional<Refusal> refusal; // the options contradict one another, or the format
    Header header;
    Range data; // preallocated guest clusters in the image file
};
Task<Created> create(Media &media, const CreateOptions &options);

// The first cluster of an image as `header` describes it, in whole; a refusal when its names do not fit.
std::optional<Refusal> encode_header(const Header &header, std::vector<std::byte> &cluster);

} // namespace us::qcow2
