#include "targets/qcow2/repair.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "targets/qcow2/check.h"
#include "targets/qcow2/first_sector.h"
#include "targets/qcow2/refcounts.h"

namespace us::qcow2 {

namespace {

using Table = std::vector<std::byte>;

class Repairer {
  public:
    Repairer(Media &media, Header &header) : media_(media), h_(header), cluster_(header.cluster_bytes()) {}

    Task<Repaired> run() {
        if (h_.has(INCOMPATIBLE_CORRUPT)) {
            done_.refusal = "it is marked as corrupt";
            co_return done_;
        }
        CheckReport report = co_await check(media_, h_, references_);
        done_.corruptions = report.corruptions;
        done_.leaks = report.leaks + report.leaks_behind;
        done_.error = report.error;
        if (done_.error == 0) done_.refusal = report.contradiction;
        if (done_.error == 0 && !done_.refusal) done_.refusal = find_uncountable();
        if (done_.error != 0 || done_.refusal) co_return done_;
        bool counts = done_.corruptions != 0 || done_.leaks != 0;
        if (counts) done_.error = co_await set_right();
        if (done_.error == 0) done_.error = co_await mark_dirty(false);
        co_return done_;
    }

  private:
    // Each of the steps of repair.h.
    Task<int> set_right() {
        if (int error = co_await load_table()) co_return error;
        if (int error = plan()) co_return error;
        if (int error = co_await mark_dirty(true)) co_return error;
        if (int error = co_await write_refcounts()) co_return error;
        if (int error = co_await place_blocks()) co_return error;
        int error = co_await set_copied();
        co_return error;
    }

    // What refcounts of this width cannot say.
    std::optional<std::string> find_uncountable() const {
        uint64_t most = refcount_max(h_.refcount_order);
        for (uint64_t i = references_.next(0); i != References::NONE; i = references_.next(i + 1))
            if (references_.get(i) > most)
                return "the cluster at " + std::to_string(i * cluster_) + " has " +
                       std::to_string(references_.get(i)) + " references, more than its refcount can say";
        return {};
    }

    Task<int> load_table() {
        Table bytes(h_.refcount_table().bytes);
        if (int error = co_await media_.read(h_.refcount_table_offset, bytes)) co_return error;
        blocks_.resize(bytes.size() / 8);
        for (size_t i = 0; i < blocks_.size(); i++)
            blocks_[i] = load<uint64_t>(bytes.data() + i * 8);
        nr_old_ = blocks_.size();
        co_return 0;
    }

    // ---- Where what is missing is going to be. All of it is counted, like what is there.

    int plan() {
        uint64_t per = h_.refcounts_per_block(), missing = 0, end = 0;
        for (uint64_t i = references_.next(0); i != References::NONE;) {
            uint64_t number = i / per;
            if (number >= nr_old_ || blocks_[number] == 0) missing++;
            do {
                end = i + 1;
                i = references_.next(end);
            } while (i != References::NONE && i / per == number);
        }
        if ((end + per - 1) / per > nr_old_) {
            if (int error = plan_table(end, missing)) return error;
        }
        // A block may lie where another one is needed for it.
        for (uint64_t i = references_.next(0); i != References::NONE; i = references_.next(i + 1)) {
            uint64_t number = i / per;
            if (number >= blocks_.size()) return -EFBIG;
            if (blocks_[number] != 0) continue;
            uint64_t block = take();
            blocks_[number] = block * cluster_;
            new_blocks_.insert(number);
            i = std::min(i, block - 1);
        }
        return 0;
    }

    // The lowest cluster to which nothing leads.
    uint64_t take() {
        while (references_.get(free_) != 0)
            free_++;
        references_[free_] = 1;
        return free_;
    }

    // One that reaches behind all that is there, itself and the new blocks. It lies at the end.
    int plan_table(uint64_t end, uint64_t missing) {
        uint64_t per = h_.refcounts_per_block(), most = MAX_REFCOUNT_TABLE_BYTES / cluster_, clusters = 0;
        for (uint64_t wanted = 1; wanted > clusters && clusters <= most;) {
            clusters = wanted;
            // Generously: some blocks are needed for blocks.
            uint64_t made = clusters + missing + (clusters + missing) / per * 2 + 8;
            wanted = h_.clusters(((end + made) / per + 1) * 8);
        }
        if (clusters > most) return -EFBIG;
        for (uint64_t i = 0; i < clusters; i++)
            references_[end + i] = 1;
        new_table_ = {end * cluster_, clusters * cluster_};
        blocks_.resize(clusters * cluster_ / 8);
        return 0;
    }

    // ---- Refcounts

    Task<int> write_refcounts() {
        for (uint64_t number = 0; number < blocks_.size(); number++)
            if (int error = co_await write_block(number)) co_return error;
        if (new_table_.bytes != 0) {
            Table table(new_table_.bytes);
            for (size_t i = 0; i < blocks_.size(); i++)
                store<uint64_t>(table.data() + i * 8, blocks_[i]);
            if (int error = co_await write(new_table_.offset, table)) co_return error;
        }
        int error = co_await flush();
        co_return error;
    }

    Task<int> write_block(uint64_t number) {
        if (blocks_[number] == 0) co_return 0;
        Table block(cluster_);
        bool changed = new_blocks_.contains(number); // over whatever was there
        if (!changed) {
            if (int error = co_await media_.read(blocks_[number], block)) co_return error;
        }
        uint64_t per = h_.refcounts_per_block(), first = number * per;
        for (uint64_t i = 0; i < per; i++) {
            uint64_t shall = references_.get(first + i);
            if (refcount_at(block.data(), h_.refcount_order, i) == shall) continue;
            set_refcount(block.data(), h_.refcount_order, i, shall);
            changed = true;
        }
        if (!changed) co_return 0;
        int error = co_await write(blocks_[number], block);
        co_return error;
    }

    // The new blocks and the new table are found from here on.
    Task<int> place_blocks() {
        if (new_table_.bytes != 0) {
            int error = co_await replace_table();
            co_return error;
        }
        constexpr uint64_t PER_SECTOR = US_SECTOR_BYTES / 8;
        std::set<uint64_t> sectors;
        for (uint64_t number : new_blocks_)
            sectors.insert(number / PER_SECTOR);
        for (uint64_t index : sectors) {
            Table sector(US_SECTOR_BYTES);
            for (uint64_t i = 0; i < PER_SECTOR; i++)
                store<uint64_t>(sector.data() + i * 8, blocks_[index * PER_SECTOR + i]);
            if (int error = co_await write(h_.refcount_table_offset + index * US_SECTOR_BYTES, sector))
                co_return error;
        }
        int error = co_await flush();
        co_return error;
    }

    // Nothing leads to the old one then.
    Task<int> replace_table() {
        Range old = h_.refcount_table();
        if (int error = co_await write_field(media_, HeaderField::refcount_table(new_table_, cluster_)))
            co_return error;
        h_.refcount_table_offset = new_table_.offset;
        h_.refcount_table_clusters = static_cast<uint32_t>(new_table_.bytes / cluster_);
        uint64_t first = old.offset / cluster_, end = old.end() / cluster_, per = h_.refcounts_per_block();
        for (uint64_t i = first; i < end; i++)
            references_[i]--;
        new_blocks_.clear();
        for (uint64_t number = first / per; number <= (end - 1) / per; number++)
            if (int error = co_await write_block(number)) co_return error;
        int error = co_await flush();
        co_return error;
    }

    // ---- COPIED

    // Set where a single reference leads to something, and nowhere else.
    Task<int> set_copied() {
        // To the end of its last sector, which is its own.
        Table l1(round_up(h_.l1().bytes, US_SECTOR_BYTES));
        if (int error = co_await media_.read(h_.l1_offset, l1)) co_return error;
        for (uint64_t at = 0; at < h_.l1().bytes; at += US_SECTOR_BYTES) {
            bool changed = false;
            for (uint64_t i = at; i < std::min<uint64_t>(at + US_SECTOR_BYTES, h_.l1().bytes); i += 8) {
                changed |= set_bit(l1.data() + i);
                uint64_t table = load<uint64_t>(l1.data() + i) & US_QCOW2_HOST_MASK;
                if (table == 0) continue;
                if (int error = co_await set_copied_in(table)) co_return error;
            }
            if (!changed) continue;
            Table sector(l1.begin() + static_cast<std::ptrdiff_t>(at),
                         l1.begin() + static_cast<std::ptrdiff_t>(at + US_SECTOR_BYTES));
            if (int error = co_await write(h_.l1_offset + at, sector)) co_return error;
        }
        int error = co_await flush();
        co_return error;
    }

    Task<int> set_copied_in(uint64_t table) {
        if (h_.shape.data_file) co_return 0; // of which there are no refcounts
        Table entries(cluster_);
        if (int error = co_await media_.read(table, entries)) co_return error;
        bool changed = false;
        for (uint64_t at = 0; at < cluster_; at += us_qcow2_entry_bytes(&h_.shape))
            if (!(load<uint64_t>(entries.data() + at) & US_QCOW2_COMPRESSED))
                changed |= set_bit(entries.data() + at);
        if (!changed) co_return 0;
        int error = co_await write(table, entries);
        co_return error;
    }

    bool set_bit(std::byte *at) const {
        uint64_t word = load<uint64_t>(at), host = word & US_QCOW2_HOST_MASK;
        if (host == 0) return false;
        bool alone = references_.get(host / cluster_) == 1, is = word & US_QCOW2_COPIED;
        if (is == alone) return false;
        store<uint64_t>(at, word ^ US_QCOW2_COPIED);
        return true;
    }

    // ---- Writing

    Task<int> write(uint64_t offset, const Table &bytes) {
        written_ = true;
        int error = co_await media_.write(offset, bytes);
        co_return error;
    }
    Task<int> flush() {
        if (!std::exchange(written_, false)) co_return 0;
        int error = co_await media_.flush();
        co_return error;
    }

    Task<int> mark_dirty(bool dirty) {
        if (h_.version < 3 || h_.has(INCOMPATIBLE_DIRTY) == dirty) co_return 0;
        uint64_t bits = h_.incompatible ^ INCOMPATIBLE_DIRTY;
        int error = co_await write_field(media_, HeaderField::incompatible(bits));
        if (error == 0) h_.incompatible = bits;
        co_return error;
    }

    Media &media_;
    Header &h_;
    uint64_t cluster_;
    Repaired done_;
    References references_;
    std::vector<uint64_t> blocks_;  // the refcount table, with what is going to be there
    uint64_t nr_old_ = 0;           // entries of the table on disk
    std::set<uint64_t> new_blocks_; // by number
    Range new_table_;
    uint64_t free_ = 0; // no cluster before it is
    bool written_ = false;
};

} // namespace

Task<Repaired> repair(Media &media, Header &header) {
    Repairer repairer(media, header);
    Repaired repaired = co_await repairer.run();
    co_return repaired;
}

} // namespace us::qcow2
