#include "targets/qcow2/create.h"

#include <algorithm>

#include "targets/qcow2/refcounts.h"

namespace us::qcow2 {

namespace {

// What each bit is called, for tools that do not know it: as QEMU calls it.
const FeatureName FEATURE_NAMES[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

constexpr uint32_t HEADER_BYTES = 112; // version 3, with the compression type and its padding
constexpr uint64_t WRITE_BYTES = 1 << 20;

Refusal refused(std::string text) {
    return {Refusal::unsupported, std::move(text)};
}

std::optional<Refusal> check_options(const CreateOptions &o) {
    bool v3 = o.refcount_order != V2_REFCOUNT_ORDER || o.extended_l2 || o.lazy_refcounts ||
              o.compression != Compression::zlib || !o.data_file_name.empty();
    if (o.version != 2 && o.version != 3) return refused("version 2 or 3 of the format was expected");
    if (o.version == 2 && v3)
        return refused(
            "version 2 of the format has refcounts of 16 bits and zlib, and knows no extended L2 entries, "
            "lazy refcounts or data files");
    if (o.cluster_bits < MIN_CLUSTER_BITS || o.cluster_bits > MAX_CLUSTER_BITS)
        return refused("clusters of 512 bytes to 2 MiB were expected");
    if (o.extended_l2 && o.cluster_bits < MIN_EXTENDED_CLUSTER_BITS)
        return refused("extended L2 entries need clusters of 16 KiB and more");
    if (o.refcount_order > MAX_REFCOUNT_ORDER) return refused("refcounts of 1 to 64 bits were expected");
    if (o.size % US_SECTOR_BYTES != 0 || o.size > INT64_MAX)
        return refused("a size of whole sectors of 512 bytes was expected");
    if (o.data_file_raw && o.data_file_name.empty())
        return refused("there is no data file that could be raw");
    if (o.data_file_raw && !o.backing_name.empty())
        return refused("a raw data file and a backing file exclude one another");
    return {};
}

Header header_for(const CreateOptions &o) {
    Header h;
    h.version = o.version;
    h.shape = {o.cluster_bits, o.extended_l2, !o.data_file_name.empty(), o.version};
    h.size = o.size;
    h.l1_entries = static_cast<uint32_t>((o.size + h.l2_span() - 1) / h.l2_span());
    h.refcount_order = o.refcount_order;
    h.compression = o.compression;
    h.backing_name = o.backing_name;
    h.backing_format = o.backing_format;
    h.data_file_name = o.data_file_name;
    if (o.version < 3) return h;
    h.header_bytes = HEADER_BYTES;
    if (!o.data_file_name.empty()) h.incompatible |= INCOMPATIBLE_DATA_FILE;
    if (o.compression != Compression::zlib) h.incompatible |= INCOMPATIBLE_COMPRESSION;
    if (o.extended_l2) h.incompatible |= INCOMPATIBLE_EXTENDED_L2;
    if (o.lazy_refcounts) h.compatible |= COMPATIBLE_LAZY_REFCOUNTS;
    if (o.data_file_raw) h.autoclear |= AUTOCLEAR_DATA_FILE_RAW;
    h.feature_names.assign(std::begin(FEATURE_NAMES), std::end(FEATURE_NAMES));
    return h;
}

// Counts of clusters, in the order in which they lie.
struct Plan {
    uint64_t refcount_table = 0, refcount_blocks = 0, l1 = 0, l2 = 0, data = 0;
    uint64_t total() const { return 1 + refcount_table + refcount_blocks + l1 + l2 + data; }
};

// Refcounts have refcounts, too: until it no longer grows.
Plan plan_for(const Header &h, const CreateOptions &o) {
    Plan plan;
    plan.l1 = h.clusters(h.l1().bytes);
    if (o.preallocate_metadata || o.data_file_raw) plan.l2 = h.l1_entries;
    if (plan.l2 != 0 && !h.shape.data_file) plan.data = h.clusters(h.size);
    for (uint64_t before = 0; before != plan.total();) {
        before = plan.total();
        plan.refcount_blocks = (before + h.refcounts_per_block() - 1) / h.refcounts_per_block();
        plan.refcount_table = h.clusters(plan.refcount_blocks * 8);
    }
    return plan;
}

class Creator {
  public:
    Creator(Media &media, const CreateOptions &options) : media_(media), o_(options) {}

    Task<Created> run() {
        Created created;
        if ((created.refusal = check_options(o_))) co_return created;
        h_ = header_for(o_);
        // Before anything is planned for it: a disk beyond the format's measure would take for ever.
        if (h_.l1().bytes > MAX_L1_BYTES || (o_.size + h_.l2_span() - 1) / h_.l2_span() > UINT32_MAX) {
            created.refusal =
                refused("the disk is too large for such clusters: its L1 table would have more than 32 MiB");
            co_return created;
        }
        plan_ = plan_for(h_, o_);
        place();
        std::vector<std::byte> first;
        if ((created.refusal = encode_header(h_, first))) co_return created;
        if (h_.refcount_table().bytes > MAX_REFCOUNT_TABLE_BYTES) {
            created.refusal = refused(
                "the disk is too large for such clusters: its refcount table would have more than 8 MiB");
            co_return created;
        }
        created.error = co_await write_all(first);
        created.header = h_;
        created.data = {data_offset(), plan_.data * h_.cluster_bytes()};
        co_return created;
    }

  private:
    uint64_t cluster() const { return h_.cluster_bytes(); }
    uint64_t blocks_offset() const { return h_.refcount_table_offset + plan_.refcount_table * cluster(); }
    uint64_t l2_offset() const { return h_.l1_offset + plan_.l1 * cluster(); }
    uint64_t data_offset() const { return l2_offset() + plan_.l2 * cluster(); }

    void place() {
        h_.refcount_table_offset = cluster();
        h_.refcount_table_clusters = static_cast<uint32_t>(plan_.refcount_table);
        h_.l1_offset = blocks_offset() + plan_.refcount_blocks * cluster();
        if (h_.l1_entries == 0) h_.l1_offset = cluster(); // an empty table, which has to be somewhere
    }

    Task<int> write_all(const std::vector<std::byte> &first) {
        int error = co_await write_table(h_.refcount_table_offset, plan_.refcount_table * cluster() / 8, 8,
                                         &Creator::put_block);
        if (error == 0) error = co_await write_blocks();
        if (error == 0)
            error = co_await write_table(h_.l1_offset, plan_.l1 * cluster() / 8, 8, &Creator::put_l2_table);
        if (error == 0 && plan_.l2 != 0)
            error = co_await write_table(l2_offset(), plan_.l2 * us_qcow2_entries(&h_.shape),
                                         us_qcow2_entry_bytes(&h_.shape), &Creator::put_cluster);
        if (error == 0) error = co_await write_zeros();
        if (error == 0) error = co_await reach_end();
        // Names in it may go on behind its first sector, which alone is written as a whole.
        auto sector = std::span(first).first(US_SECTOR_BYTES), rest = std::span(first).subspan(sector.size());
        if (error == 0 && !rest.empty()) error = co_await media_.write(sector.size(), rest);
        if (error == 0) error = co_await media_.flush();
        if (error == 0) error = co_await media_.write(0, sector);
        if (error == 0) error = co_await media_.flush();
        co_return error;
    }

    // Places that nobody has written yet are in the image, too.
    Task<int> reach_end() {
        uint64_t end = plan_.total() * cluster();
        if (plan_.data == 0 || end <= media_.size()) co_return 0;
        std::byte zeros[US_SECTOR_BYTES]{};
        int error = co_await media_.write(end - sizeof zeros, zeros);
        co_return error;
    }

    // Clusters that have a place and read zeros, without anything being written to it.
    bool shows_zeros() const { return !o_.media_is_zero && !o_.data_file_raw && h_.version >= 3; }

    // What version 2 cannot say has to be so.
    Task<int> write_zeros() {
        if (plan_.data == 0 || o_.media_is_zero || h_.version >= 3) co_return 0;
        std::vector<std::byte> zeros(WRITE_BYTES);
        for (uint64_t at = data_offset(), end = plan_.total() * cluster(); at < end;) {
            uint64_t now = std::min(end - at, WRITE_BYTES);
            if (int error = co_await media_.write(at, std::span(zeros).first(now))) co_return error;
            at += now;
        }
        co_return 0;
    }

    using Put = void (Creator::*)(uint64_t index, std::byte *at) const;

    // A table of so many entries, piece by piece.
    Task<int> write_table(uint64_t offset, uint64_t entries, uint32_t entry_bytes, Put put) {
        std::vector<std::byte> bytes;
        for (uint64_t done = 0; done < entries;) {
            uint64_t now = std::min(entries - done, WRITE_BYTES / entry_bytes);
            bytes.assign(now * entry_bytes, std::byte{0});
            for (uint64_t i = 0; i < now; i++)
                (this->*put)(done + i, bytes.data() + i * entry_bytes);
            if (int error = co_await media_.write(offset + done * entry_bytes, bytes)) co_return error;
            done += now;
        }
        co_return 0;
    }

    void put_block(uint64_t index, std::byte *at) const {
        if (index < plan_.refcount_blocks) store<uint64_t>(at, blocks_offset() + index * cluster());
    }
    void put_l2_table(uint64_t index, std::byte *at) const {
        if (index < plan_.l2) store<uint64_t>(at, (l2_offset() + index * cluster()) | US_QCOW2_COPIED);
    }
    void put_cluster(uint64_t index, std::byte *at) const {
        uint64_t guest = index * cluster();
        if (guest >= h_.size) return;
        uint64_t host = h_.shape.data_file ? guest : data_offset() + guest;
        bool zeros = shows_zeros();
        store<uint64_t>(at, host | US_QCOW2_COPIED | (zeros && !h_.shape.extended ? US_QCOW2_ZERO : 0));
        // All subclusters alike: reading zeros, or allocated.
        if (h_.shape.extended) store<uint64_t>(at + 8, zeros ? 0xffffffff00000000 : 0xffffffff);
    }

    // Everything up to the end of the image is in use once.
    Task<int> write_blocks() {
        std::vector<std::byte> block;
        for (uint64_t i = 0; i < plan_.refcount_blocks; i++) {
            block.assign(cluster(), std::byte{0});
            uint64_t first = i * h_.refcounts_per_block();
            uint64_t used = std::min(plan_.total() - first, h_.refcounts_per_block());
            for (uint64_t k = 0; k < used; k++)
                set_refcount(block.data(), h_.refcount_order, k, 1);
            if (int error = co_await media_.write(blocks_offset() + i * cluster(), block)) co_return error;
        }
        co_return 0;
    }

    Media &media_;
    const CreateOptions &o_;
    Header h_;
    Plan plan_;
};

} // namespace

Task<Created> create(Media &media, const CreateOptions &options) {
    Creator creator(media, options);
    Created created = co_await creator.run();
    co_return created;
}

} // namespace us::qcow2
