#include "targets/qcow2/check.h"

#include <algorithm>

#include "targets/qcow2/bitmaps.h"
#include "targets/qcow2/refcounts.h"
#include "targets/qcow2/snapshots.h"

namespace us::qcow2 {

namespace {

const std::string ENTRY_OF = "the entry of the guest's cluster";

// What COPIED says of a cluster depends on no more than this of its refcount.
enum class Refs : uint8_t { none, one, more };

// What leads to a cluster says what it is. Snapshots share L2 tables, and they and compressed clusters data.
enum class Use : uint8_t { none, data, l2_table, table };

class Checker {
  public:
    Checker(Media &media, const Header &header, References &references)
        : media_(media), h_(header), cluster_(header.cluster_bytes()),
          clusters_(header.clusters(media.size())), references_(references) {}

    Task<CheckReport> run() {
        report_.total_clusters = h_.clusters(h_.size);
        refer_data({0, cluster_}, "header", Use::table);
        co_await refer_l1(h_.l1(), true);
        co_await refer_snapshots();
        co_await refer_bitmaps();
        co_await refer_refcounts();
        compare_rest();
        co_await check_copied();
        co_return std::move(report_);
    }

  private:
    using Table = std::vector<std::byte>;

    void found(bool corruption, const std::string &text) {
        (corruption ? report_.corruptions : report_.leaks)++;
        if (report_.findings.size() < CheckReport::MAX_FINDINGS)
            report_.findings.push_back({corruption, text});
    }
    void corrupt(const std::string &text) {
        found(true, text);
        contradict(text);
    }
    void contradict(const std::string &text) {
        if (!report_.contradiction) report_.contradiction = text;
    }
    static std::string at(uint64_t offset) { return " at " + std::to_string(offset); }

    bool failed() const { return report_.error != 0; }

    // One more reference to each cluster of the range. Tables are there in full; of data, the end of the last
    // cluster may be missing.
    void refer(const Range &range, const char *what, Use use = Use::table) {
        if (range.bytes != 0 && (range.offset > media_.size() || range.bytes > media_.size() - range.offset))
            return corrupt(what + (" placed" + at(range.offset)) + " does not lie within the image");
        refer_data(range, what, use);
    }
    void refer_data(const Range &range, const char *what, Use use = Use::data) {
        if (range.bytes == 0) return;
        uint64_t first = range.offset / cluster_, end = (range.end() + cluster_ - 1) / cluster_;
        if (range.end() < range.offset || end > clusters_)
            return corrupt(what + (" placed" + at(range.offset)) + " lies beyond the end of the image");
        for (uint64_t i = first; i < end; i++) {
            references_[i]++;
            Use &known = uses_[i];
            if (known != Use::none && (known != use || use == Use::table))
                contradict(what + at(range.offset) + " lies where something else does");
            known = use;
        }
    }

    // Nothing when it cannot be read, or lies beyond the end.
    Task<Table> read(Range range) {
        Table table;
        if (failed() || range.offset > media_.size() + cluster_ || range.bytes > media_.size() + cluster_)
            co_return table;
        table.resize(range.bytes);
        report_.error = co_await media_.read(range.offset, table);
        if (failed()) table.clear();
        co_return table;
    }

    Task<int> refer_l1(Range l1, bool active) {
        refer(l1, "L1 table");
        Table table = co_await read(l1);
        for (size_t i = 0; i + 8 <= table.size() && !failed(); i += 8) {
            uint64_t entry = load<uint64_t>(table.data() + i), l2 = entry & US_QCOW2_HOST_MASK;
            if (entry & L1_RESERVED)
                corrupt("reserved bits are set in the entry of an L1 table" + at(l1.offset + i));
            if (l2 == 0) {
                if (entry & US_QCOW2_COPIED)
                    corrupt("an L1 table says of no L2 table that nobody shares it" + at(l1.offset + i));
                continue;
            }
            refer({l2, cluster_}, "L2 table", Use::l2_table);
            if (l2 % cluster_ != 0) {
                corrupt("an L2 table does not begin at a cluster:" + at(l2));
                continue;
            }
            Table entries = co_await read({l2, cluster_});
            uint64_t next_host = 0; // where a cluster would follow the one before it
            for (uint64_t k = 0; k < entries.size() / us_qcow2_entry_bytes(&h_.shape); k++)
                refer_entry(entries, k, guest_of(i / 8, k), active, next_host);
        }
        co_return 0;
    }

    uint64_t guest_of(uint64_t l1_index, uint64_t l2_index) const {
        return l1_index * h_.l2_span() + l2_index * cluster_;
    }

    struct Entry {
        uint64_t word, subclusters;
    };
    Entry entry(const Table &table, uint64_t index) const {
        const std::byte *at = table.data() + index * us_qcow2_entry_bytes(&h_.shape);
        return {load<uint64_t>(at), h_.shape.extended ? load<uint64_t>(at + 8) : 0};
    }

    void refer_entry(const Table &table, uint64_t index, uint64_t guest, bool active, uint64_t &next_host) {
        Entry e = entry(table, index);
        us_qcow2_run run = us_qcow2_entry(&h_.shape, e.word, e.subclusters, guest, 0);
        if (run.kind == US_QCOW2_BAD) corrupt(ENTRY_OF + at(guest) + " contradicts the format");
        if (e.word & US_QCOW2_COMPRESSED) return refer_compressed(e.word, run, guest, active);
        uint64_t reserved = L2_RESERVED | (h_.shape.extended ? US_QCOW2_ZERO : 0);
        if (e.word & reserved) corrupt(ENTRY_OF + at(guest) + " has reserved bits set");
        uint64_t host = e.word & US_QCOW2_HOST_MASK;
        bool placed = host != 0 || (h_.shape.data_file && e.word & US_QCOW2_COPIED);
        if (!placed) return;
        if (active) {
            report_.allocated_clusters++;
            if (next_host != 0 && host != next_host) report_.fragmented_clusters++;
            next_host = host + cluster_;
        }
        if (!h_.shape.data_file) refer_data({host, cluster_}, "a cluster of the guest");
    }

    void refer_compressed(uint64_t word, const us_qcow2_run &run, uint64_t guest, bool active) {
        if (word & US_QCOW2_COPIED)
            corrupt(ENTRY_OF + at(guest) + " is compressed, and marked as if it could be written in place");
        uint64_t first = run.host / US_SECTOR_BYTES * US_SECTOR_BYTES;
        refer_data({first, run.host + run.host_bytes - first}, "compressed data");
        if (!active) return;
        report_.allocated_clusters++;
        report_.compressed_clusters++;
        report_.fragmented_clusters++; // by nature
    }

    Task<int> refer_snapshots() {
        SnapshotsRead read = co_await read_snapshots(media_, h_);
        if (read.error != 0) report_.error = read.error;
        if (read.refusal) corrupt(read.refusal->text);
        if (failed() || read.refusal) co_return 0;
        refer(read.table.range, "snapshot table");
        for (const Snapshot &snapshot : read.table.snapshots)
            co_await refer_l1(snapshot.l1(), false);
        co_return 0;
    }

    Task<int> refer_bitmaps() {
        if (!h_.bitmaps) co_return 0;
        refer(h_.bitmaps->directory, "bitmap directory");
        Table directory = co_await read(h_.bitmaps->directory);
        if (failed()) co_return 0;
        std::vector<Bitmap> bitmaps;
        if (auto refusal = parse_bitmaps(directory, h_, bitmaps)) {
            corrupt(refusal->text);
            co_return 0;
        }
        for (const Bitmap &bitmap : bitmaps) {
            refer(bitmap.table(), "bitmap table");
            Table table = co_await read(bitmap.table());
            for (size_t i = 0; i + 8 <= table.size(); i += 8)
                refer_bitmap_entry(load<uint64_t>(table.data() + i));
        }
        co_return 0;
    }

    void refer_bitmap_entry(uint64_t entry) {
        uint64_t host = entry & US_QCOW2_HOST_MASK;
        bool ones = entry & 1;
        if ((entry & ~US_QCOW2_HOST_MASK & ~uint64_t{1}) != 0 || (host != 0 && ones) || host % cluster_ != 0)
            return corrupt("an entry of a bitmap table contradicts the format");
        if (host != 0) refer_data({host, cluster_}, "bitmap data");
    }

    // The blocks refer to themselves: so they are counted before any is compared.
    Task<int> refer_refcounts() {
        refer(h_.refcount_table(), "refcount table");
        Table table = co_await read(h_.refcount_table());
        std::vector<uint64_t> blocks;
        for (size_t i = 0; i + 8 <= table.size(); i += 8) {
            uint64_t entry = load<uint64_t>(table.data() + i), block = entry & ~REFCOUNT_TABLE_RESERVED;
            bool usable = block % cluster_ == 0 && block <= media_.size();
            if (entry & REFCOUNT_TABLE_RESERVED)
                corrupt("reserved bits are set in the refcount table, entry " + std::to_string(i / 8));
            if (!usable) corrupt("a refcount block" + at(block) + " cannot be there");
            blocks.push_back(usable ? block : 0);
            if (usable && block != 0) refer({block, cluster_}, "refcount block");
        }
        for (size_t i = 0; i < blocks.size() && !failed(); i++) {
            if (blocks[i] == 0) continue;
            Table block = co_await read({blocks[i], cluster_});
            if (!failed()) compare_block(block, i * h_.refcounts_per_block());
        }
        co_return 0;
    }

    void compare_block(const Table &block, uint64_t first) {
        uint64_t end = std::min(first + h_.refcounts_per_block(), clusters_);
        for (uint64_t i = first; i < end; i++) {
            uint64_t refcount = refcount_at(block.data(), h_.refcount_order, i - first);
            if (refcount == 0) continue;
            refs_[i] = refcount == 1 ? Refs::one : Refs::more;
            report_.image_end = std::max(report_.image_end, (i + 1) * cluster_);
            compare(i, refcount);
        }
        for (uint64_t i = std::max(first, end); i < first + h_.refcounts_per_block(); i++)
            if (refcount_at(block.data(), h_.refcount_order, i - first) != 0 && references_.get(i) == 0)
                report_.leaks_behind++;
    }

    void compare(uint64_t index, uint64_t refcount) {
        uint64_t references = references_.get(index);
        if (references == refcount) return;
        found(references > refcount, "the cluster" + at(index * cluster_) + " has refcount " +
                                         std::to_string(refcount) + " and " + std::to_string(references) +
                                         " references");
    }

    // Clusters without a refcount.
    void compare_rest() {
        for (uint64_t i = references_.next(0); i != References::NONE; i = references_.next(i + 1)) {
            report_.image_end = std::max(report_.image_end, (i + 1) * cluster_);
            if (refs_.get(i) == Refs::none) compare(i, 0);
        }
    }

    // Of the active tables: elsewhere the bit is not kept.
    Task<int> check_copied() {
        Table l1 = co_await read(h_.l1());
        for (size_t i = 0; i + 8 <= l1.size() && !failed(); i += 8) {
            uint64_t word = load<uint64_t>(l1.data() + i), l2 = word & US_QCOW2_HOST_MASK;
            if (l2 == 0 || l2 % cluster_ != 0) continue;
            check_bit(word, l2, "the L2 table");
            Table entries = co_await read({l2, cluster_});
            for (uint64_t k = 0; k < entries.size() / us_qcow2_entry_bytes(&h_.shape); k++)
                check_copied_entry(entry(entries, k).word);
        }
        co_return 0;
    }

    void check_copied_entry(uint64_t word) {
        uint64_t host = word & US_QCOW2_HOST_MASK;
        if (word & US_QCOW2_COMPRESSED || h_.shape.data_file || host == 0) return;
        check_bit(word, host, "a cluster of the guest");
    }

    void check_bit(uint64_t word, uint64_t host, const char *what) {
        uint64_t index = host / cluster_;
        if (index >= clusters_) return; // beyond the end: told already
        bool marked = word & US_QCOW2_COPIED, alone = refs_.get(index) == Refs::one;
        if (marked != alone)
            found(true,
                  what + at(host) +
                      (marked ? " is marked as if nobody shared it" : " is marked as if it were shared"));
    }

    Media &media_;
    const Header &h_;
    uint64_t cluster_;
    uint64_t clusters_; // of the media
    References &references_;
    SparseArray<Use> uses_;
    SparseArray<Refs> refs_;
    CheckReport report_;
};

} // namespace

Task<CheckReport> check(Media &media, const Header &header, References &references) {
    Checker checker(media, header, references);
    CheckReport report = co_await checker.run();
    co_return report;
}

Task<CheckReport> check(Media &media, const Header &header) {
    References references;
    CheckReport report = co_await check(media, header, references);
    co_return report;
}

} // namespace us::qcow2
