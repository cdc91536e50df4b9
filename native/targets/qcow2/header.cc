#include "targets/qcow2/header.h"

#include <algorithm>
#include <string_view>

namespace us::qcow2 {

namespace {

using Bytes = std::span<const std::byte>;

Refusal invalid(std::string text) {
    return {Refusal::invalid, std::move(text)};
}
Refusal unsupported(std::string text) {
    return {Refusal::unsupported, std::move(text)};
}

std::string number(uint64_t value) {
    return std::to_string(value);
}

std::string text_of(Bytes bytes) {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

std::optional<Refusal> read_fixed(Bytes bytes, Header &h) {
    const std::byte *at = bytes.data();
    h.version = load<uint32_t>(at + 4);
    if (h.version != 2 && h.version != 3)
        return unsupported("version " + number(h.version) +
                           " of the format is not known: 2 or 3 was expected");
    uint32_t bits = load<uint32_t>(at + 20);
    if (bits < MIN_CLUSTER_BITS || bits > MAX_CLUSTER_BITS)
        return unsupported("clusters of 2^" + number(bits) + " bytes: 512 bytes to 2 MiB were expected");
    h.shape.cluster_bits = bits;
    h.shape.version = h.version;
    h.size = load<uint64_t>(at + 24);
    h.crypt = Crypt{load<uint32_t>(at + 32)};
    h.l1_entries = load<uint32_t>(at + 36);
    h.l1_offset = load<uint64_t>(at + 40);
    h.refcount_table_offset = load<uint64_t>(at + 48);
    h.refcount_table_clusters = load<uint32_t>(at + 56);
    h.nr_snapshots = load<uint32_t>(at + 60);
    h.snapshots_offset = load<uint64_t>(at + 64);
    return {};
}

std::optional<Refusal> read_v3(Bytes bytes, Header &h) {
    const std::byte *at = bytes.data();
    h.incompatible = load<uint64_t>(at + 72);
    h.compatible = load<uint64_t>(at + 80);
    h.autoclear = load<uint64_t>(at + 88);
    h.refcount_order = load<uint32_t>(at + 96);
    h.header_bytes = load<uint32_t>(at + 100);
    if (h.header_bytes < V3_HEADER_BYTES || h.header_bytes % 8 != 0 ||
        h.header_bytes > std::min<uint64_t>(h.cluster_bytes(), bytes.size()))
        return invalid("a header of " + number(h.header_bytes) +
                       " bytes: a multiple of 8, at least 104 and within the first cluster, was expected");
    h.shape.extended = (h.incompatible & INCOMPATIBLE_EXTENDED_L2) != 0;
    h.shape.data_file = (h.incompatible & INCOMPATIBLE_DATA_FILE) != 0;
    uint8_t compression = h.header_bytes > COMPRESSION_BYTE ? load<uint8_t>(at + COMPRESSION_BYTE) : 0;
    h.compression = Compression{compression};
    if (h.refcount_order > MAX_REFCOUNT_ORDER)
        return invalid("refcounts of 2^" + number(h.refcount_order) + " bits: 64 are the most");
    return {};
}

std::optional<Refusal> read_feature_names(Bytes data, Header &h) {
    constexpr size_t ROW = 48, NAME = 46;
    for (; data.size() >= ROW; data = data.subspan(ROW)) {
        std::string name = text_of(data.subspan(2, NAME));
        h.feature_names.push_back({load<uint8_t>(data.data()), load<uint8_t>(data.data() + 1), name.c_str()});
    }
    return {};
}

std::optional<Refusal> read_bitmaps(Bytes data, Header &h) {
    if (data.size() != 24)
        return invalid("its bitmaps extension has " + number(data.size()) + " bytes, not 24");
    BitmapsExtension bitmaps;
    bitmaps.nr_bitmaps = load<uint32_t>(data.data());
    bitmaps.directory = {load<uint64_t>(data.data() + 16), load<uint64_t>(data.data() + 8)};
    if (bitmaps.nr_bitmaps == 0 || bitmaps.nr_bitmaps > MAX_BITMAPS || load<uint32_t>(data.data() + 4) != 0 ||
        bitmaps.directory.bytes > MAX_BITMAP_DIRECTORY_BYTES)
        return invalid("its bitmaps extension makes no sense");
    h.bitmaps = bitmaps;
    return {};
}

std::optional<Refusal> read_extension(uint32_t type, Bytes data, Header &h) {
    switch (type) {
    case EXTENSION_BACKING_FORMAT:
        h.backing_format = text_of(data);
        return {};
    case EXTENSION_DATA_FILE:
        h.data_file_name = text_of(data);
        return {};
    case EXTENSION_FEATURE_NAMES:
        return read_feature_names(data, h);
    case EXTENSION_BITMAPS:
        // Written since by somebody who knows no bitmaps: nothing of it is to be believed.
        if (!(h.autoclear & AUTOCLEAR_BITMAPS)) return {};
        return read_bitmaps(data, h);
    case EXTENSION_CRYPTO_HEADER:
        if (data.size() != 16) return invalid("its encryption header's place has not 16 bytes");
        h.crypto_header = Range{load<uint64_t>(data.data()), load<uint64_t>(data.data() + 8)};
        return {};
    default:
        h.unknown_extensions.push_back({type, {data.begin(), data.end()}});
        return {};
    }
}

// They end with the area, where the backing file's name begins, or with an end mark.
std::optional<Refusal> read_extensions(Bytes area, Header &h) {
    std::vector<uint32_t> seen;
    while (area.size() >= 8) {
        uint32_t type = load<uint32_t>(area.data()), length = load<uint32_t>(area.data() + 4);
        if (type == EXTENSION_END) return {};
        area = area.subspan(8);
        if (length > area.size())
            return invalid("a header extension of " + number(length) +
                           " bytes does not fit the first cluster");
        if (std::find(seen.begin(), seen.end(), type) != seen.end())
            return invalid("a header extension appears twice");
        seen.push_back(type);
        if (auto refusal = read_extension(type, area.first(length), h)) return refusal;
        area = area.subspan(std::min<size_t>(round_up(length, 8), area.size()));
    }
    return {};
}

std::optional<Refusal> read_backing_name(Bytes cluster, Header &h) {
    uint64_t offset = load<uint64_t>(cluster.data() + 8);
    if (offset == 0) return {};
    uint32_t length = load<uint32_t>(cluster.data() + 16);
    if (length > MAX_BACKING_NAME_BYTES || offset < h.header_bytes || offset > cluster.size() ||
        length > cluster.size() - offset)
        return invalid("the name of its backing file does not lie within the first cluster");
    h.backing_name = text_of(cluster.subspan(offset, length));
    return {};
}

// By its own words, where the image brings them.
std::string feature(const Header &h, uint8_t type, uint8_t bit) {
    for (const FeatureName &row : h.feature_names)
        if (row.type == type && row.bit == bit && !row.name.empty())
            return "\"" + row.name + "\" (bit " + number(bit) + ")";
    return "bit " + number(bit);
}

std::optional<Refusal> check_features(const Header &h) {
    std::string unknown;
    for (uint8_t bit = 0; bit < 64; bit++)
        if ((h.incompatible & ~uint64_t{INCOMPATIBLE_KNOWN}) >> bit & 1)
            unknown += (unknown.empty() ? "" : ", ") + feature(h, 0, bit);
    if (!unknown.empty())
        return unsupported("it uses incompatible features that are not known here: " + unknown);
    if (h.shape.extended && h.shape.cluster_bits < MIN_EXTENDED_CLUSTER_BITS)
        return invalid("extended L2 entries need clusters of 16 KiB and more");
    bool marked = h.has(INCOMPATIBLE_COMPRESSION), other = h.compression != Compression::zlib;
    if (marked != other) return invalid("its compression type contradicts its feature bit");
    if (h.compression > Compression::zstd)
        return unsupported("compression type " + number(static_cast<uint8_t>(h.compression)) +
                           " is not known");
    if (h.autoclear & AUTOCLEAR_BITMAPS && !h.bitmaps)
        return invalid("its bitmaps are called consistent, and there are none");
    if (h.autoclear & AUTOCLEAR_DATA_FILE_RAW && !h.shape.data_file)
        return invalid("its data file is called raw, and there is none");
    if (h.autoclear & AUTOCLEAR_DATA_FILE_RAW && !h.backing_name.empty())
        return invalid("a raw data file and a backing file exclude one another");
    if (h.shape.data_file && h.nr_snapshots != 0)
        return invalid("an external data file and internal snapshots exclude one another");
    return {};
}

std::optional<Refusal> check_crypt(const Header &h) {
    if (h.crypt == Crypt::luks) return unsupported("it is encrypted (LUKS), which is not served yet");
    if (h.crypt == Crypt::aes)
        return unsupported(
            "it is encrypted by qcow2's old AES, which is not safe; `qemu-img convert` takes it over");
    if (h.crypt != Crypt::none)
        return unsupported("its encryption, method " + number(static_cast<uint32_t>(h.crypt)) +
                           ", is not known");
    return {};
}

struct Table {
    const char *name;
    Range range;
};

std::optional<Refusal> check_places(const Header &h, uint64_t media_bytes) {
    uint64_t cluster = h.cluster_bytes();
    std::vector<Table> tables{{"header", {0, cluster}}};
    if (h.l1_entries) tables.push_back({"L1 table", h.l1()});
    tables.push_back({"refcount table", h.refcount_table()});
    if (h.nr_snapshots) tables.push_back({"snapshot table", {h.snapshots_offset, 1}});
    if (h.bitmaps) tables.push_back({"bitmap directory", h.bitmaps->directory});
    for (size_t i = 1; i < tables.size(); i++) {
        const Range &range = tables[i].range;
        std::string name = tables[i].name;
        if (range.offset % cluster != 0)
            return invalid("its " + name + " begins at " + number(range.offset) + ", not at a cluster");
        if (range.end() < range.offset) return invalid("its " + name + " has no end");
        for (size_t j = 0; j < i; j++)
            if (range.touches(tables[j].range))
                return invalid("its " + name + " overlaps its " + tables[j].name);
        if (range.offset > media_bytes || range.bytes > media_bytes - range.offset)
            return invalid("its " + name + " lies beyond the end of the image");
    }
    return {};
}

std::optional<Refusal> check_sizes(const Header &h) {
    if (h.size > INT64_MAX) return invalid("a disk of " + number(h.size) + " bytes cannot be");
    if (h.l1().bytes > MAX_L1_BYTES) return unsupported("its L1 table has more than 32 MiB");
    if (h.l1_entries < (h.size + h.l2_span() - 1) / h.l2_span())
        return invalid("its L1 table is too small for a disk of " + number(h.size) + " bytes");
    if (h.refcount_table_clusters == 0) return invalid("it has no refcount table");
    if (h.refcount_table_clusters > MAX_REFCOUNT_TABLE_BYTES / h.cluster_bytes())
        return unsupported("its refcount table has more than 8 MiB");
    if (h.nr_snapshots > MAX_SNAPSHOTS) return unsupported("it has more than 65536 snapshots");
    return {};
}

} // namespace

std::optional<Refusal> parse_header(Bytes bytes, uint64_t media_bytes, Header &header) {
    header = {};
    if (bytes.size() < 8 || load<uint32_t>(bytes.data()) != MAGIC)
        return Refusal{Refusal::foreign, "it does not begin as a qcow2 image does (\"QFI\\xfb\")"};
    if (bytes.size() < V2_HEADER_BYTES) return invalid("it is shorter than a header");
    if (auto refusal = read_fixed(bytes, header)) return refusal;
    Bytes cluster = bytes.first(std::min<uint64_t>(bytes.size(), header.cluster_bytes()));
    if (header.version >= 3) {
        if (bytes.size() < V3_HEADER_BYTES) return invalid("it is shorter than a header");
        if (auto refusal = read_v3(cluster, header)) return refusal;
    }
    if (auto refusal = read_backing_name(cluster, header)) return refusal;
    uint64_t extensions_end = cluster.size();
    if (!header.backing_name.empty()) extensions_end = load<uint64_t>(cluster.data() + 8);
    if (auto refusal = read_extensions(
            cluster.subspan(header.header_bytes, extensions_end - header.header_bytes), header))
        return refusal;
    if (auto refusal = check_features(header)) return refusal;
    if (auto refusal = check_crypt(header)) return refusal;
    if (auto refusal = check_sizes(header)) return refusal;
    return check_places(header, media_bytes);
}

} // namespace us::qcow2
