// The header of a qcow2 image and its extensions: specification, "Header" to "Header extensions".
//
//     0            72           header_length                      cluster size
//     | v2 fields  | v3 fields  | extension, extension, …, end | … backing file's name … |
//
// Images are untrusted. What a header says has been checked against the format's limits, QEMU's own, and the
// length of the media, before anything is done with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/qcow2_entry.h"
#include "targets/qcow2/format.h"

namespace us::qcow2 {

// Why an image is not opened, in words for the user.
struct Refusal {
    enum Kind {
        foreign,     // no qcow2 image at all
        invalid,     // breaks the specification
        unsupported, // uses what we do not know, or do not do
    } kind;
    std::string text;
};

// [offset, offset + bytes) of the image file.
struct Range {
    uint64_t offset = 0, bytes = 0;
    uint64_t end() const { return offset + bytes; }
    bool operator==(const Range &) const = default;
    bool touches(const Range &other) const {
        return bytes && other.bytes && offset < other.end() && other.offset < end();
    }
};

struct FeatureName {
    uint8_t type; // 0 incompatible, 1 compatible, 2 autoclear
    uint8_t bit;  // 0 to 63
    std::string name;
};

struct BitmapsExtension {
    uint32_t nr_bitmaps = 0;
    Range directory;
};

// An extension that we keep as it is, when a header is written anew.
struct UnknownExtension {
    uint32_t type;
    std::vector<std::byte> data;
};

struct Header {
    uint32_t version = 3;
    us_qcow2_shape shape{};
    uint64_t size = 0; // bytes of the guest's disk
    Crypt crypt = Crypt::none;
    uint32_t l1_entries = 0;
    uint64_t l1_offset = 0;
    uint64_t refcount_table_offset = 0;
    uint32_t refcount_table_clusters = 0;
    uint32_t nr_snapshots = 0;
    uint64_t snapshots_offset = 0;
    uint64_t incompatible = 0, compatible = 0, autoclear = 0;
    uint32_t refcount_order = V2_REFCOUNT_ORDER; // a refcount has 1 << refcount_order bits
    uint32_t header_bytes = V2_HEADER_BYTES;
    Compression compression = Compression::zlib;

    std::string backing_name, backing_format, data_file_name; // empty: none
    std::optional<BitmapsExtension> bitmaps;                  // consistent ones: others are none
    std::optional<Range> crypto_header;
    std::vector<FeatureName> feature_names;
    std::vector<UnknownExtension> unknown_extensions;

    uint64_t cluster_bytes() const { return us_qcow2_cluster_bytes(&shape); }
    uint64_t clusters(uint64_t bytes) const { return (bytes + cluster_bytes() - 1) / cluster_bytes(); }
    uint64_t l2_span() const {
        return us_qcow2_entries(&shape) * cluster_bytes();
    } // guest bytes of one L2 table
    // Of the L1 table, for a disk of so many bytes.
    uint64_t l1_entries_for(uint64_t bytes) const { return bytes / l2_span() + (bytes % l2_span() != 0); }
    uint32_t refcount_bits() const { return 1u << refcount_order; }
    uint64_t refcounts_per_block() const { return cluster_bytes() * 8 / refcount_bits(); }
    Range l1() const { return {l1_offset, uint64_t{l1_entries} * 8}; }
    Range refcount_table() const {
        return {refcount_table_offset, refcount_table_clusters * cluster_bytes()};
    }
    bool has(Incompatible bit) const { return incompatible & bit; }
};

// How many bytes from the beginning of the image parse_header() wants: the largest first cluster.
constexpr size_t HEADER_READ_BYTES = size_t{1} << MAX_CLUSTER_BITS;

// bytes: the first HEADER_READ_BYTES of the image, or all of it; media_bytes: its length. Nothing when
// `header` is filled and every number in it is within bounds.
std::optional<Refusal> parse_header(std::span<const std::byte> bytes, uint64_t media_bytes, Header &header);

} // namespace us::qcow2
