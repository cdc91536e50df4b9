// An image that is read and written. What is on disk is consistent at every moment, whatever of the writes
// since the last flush a power cut leaves:
//
//     a write to a new cluster   its refcount, in memory ─▶ data ─▶ L2 entry, in memory ─▶ acknowledged
//     a round, for a flush       copies of all changed tables: refcounts ─▶ FLUSH ─▶ L2 tables ─▶ FLUSH
//                                ─▶ what was given up before is free
//     a new L2 table             its refcount and content ─▶ FLUSH ─▶ L1 entry
//     with a data file           data ─▶ L2 entry, in memory; it is flushed where the refcounts are
//     a flush has failed         the next round writes all tables once more, if it can flush now
//     a new refcount block       its content, its own refcount in it ─▶ FLUSH ─▶ its place in the table
//
// So an entry on disk leads to what is on disk: data and refcounts are flushed before the entry that needs
// them is written. A cluster that is given up keeps its refcount until no entry on disk leads to it, and
// nobody still reads it: it never shows one block's data in another's place. What a power cut can leave is a
// leak: refcounts are too high, never too low.
//
// What changes the tables as a whole, snapshots and growing, has an order of its own: revision.h.
//
// Any queue; the one mutex is held for memory alone.
#pragma once

#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "targets/format_map.h"
#include "targets/qcow2/allocator.h"
#include "targets/qcow2/directory.h"
#include "targets/qcow2/first_sector.h"
#include "targets/qcow2/header.h"
#include "targets/qcow2/inflater.h"
#include "targets/qcow2/media.h"
#include "targets/qcow2/metadata.h"
#include "targets/qcow2/snapshots.h"
#include "targets/qcow2/table_cache.h"
#include "targets/qcow2/turns.h"
#include "targets/qcow2/watched_media.h"

namespace us::qcow2 {

struct ImageOptions {
    uint64_t cache_bytes = 32 << 20;
    Media *backing = nullptr;     // what unallocated clusters show; zeros without
    Media *data = nullptr;        // where the guest's clusters lie, if the image has an external data file
    FormatMap *map = nullptr;     // is told where clusters are, once serve_mapped() was called
    Inflater *inflater = nullptr; // for a server; each read inflates its cluster by itself without
};

class Image {
  public:
    // header: as parse_header() has found it on the media.
    Image(Media &media, Header header, ImageOptions options);

    // The disk's size and the places of its tables change by what is said below of snapshots and growing: the
    // size is to be asked for by size(), where that may happen.
    const Header &header() const { return header_; }
    uint64_t size() {
        std::lock_guard lock(mutex_);
        return header_.size;
    }

    // It has been found to contradict itself, now or before.
    bool corrupt() {
        std::lock_guard lock(mutex_);
        return corrupt_ || header_.has(INCOMPATIBLE_CORRUPT);
    }

    // Before load(): what is not on disk yet outlives this process, in a file of this folder. taken_over:
    // there was something of a predecessor of the same owner. 0 or -errno.
    int keep_in(int folder, const std::string &name, const std::string &owner, bool &taken_over) {
        int error = cache_.keep_in(folder, name, owner, taken_over);
        if (error == 0) watched_.keep(cache_.doubt());
        return error;
    }

    // Once, before all else. 0 or -errno, as everything below; -EINVAL: the image has an external
    // data file and there is none, or the reverse.
    Task<int> load();
    // Before the first change, or there is none (-EROFS): says what others have to know of a writer that does
    // not keep bitmaps; one who does not change what the disk shows need not. -EUCLEAN: the image is corrupt,
    // or dirty, and has to be repaired first.
    Task<int> begin_writing(bool keeps_contents = false);

    // Before the first request: tells the map of clusters from now on. Whoever acts on it writes in place,
    // and reads, beside the calls below. block: bytes that all requests are aligned to.
    void serve_mapped(uint32_t block);

    // -EINVAL: the range does not lie inside the disk. -EUCLEAN: the image contradicts itself; from then on
    // it is marked as corrupt, and only read.
    Task<int> read(Executor &executor, uint64_t offset, std::span<std::byte> into);
    Task<int> write(Executor &executor, uint64_t offset, std::span<const std::byte> from);
    // Reads zeros afterwards. keep: clusters keep their place.
    Task<int> zero(Executor &executor, uint64_t offset, uint64_t length, bool keep);
    // Whole clusters of it are given up, and read zeros. In a data file they keep their place.
    Task<int> discard(Executor &executor, uint64_t offset, uint64_t length);
    // Durable afterwards: all that had ended before.
    Task<int> flush(Executor &executor);
    // A flush of what it lies on has failed, past all this: the next one has to do it all anew.
    void distrust();
    // When nothing else runs any more: nothing of it is in memory alone afterwards.
    Task<int> close(Executor &executor);

    // What is at `guest`, and up to where at least.
    Task<int> look_up(Executor &executor, uint64_t guest, us_qcow2_run &run);

    // Between the requests of all others: durable when it ends, or nothing of it is there. -EROFS and
    // -EUCLEAN as a write; -EFBIG: beyond a limit of the format, as narrow refcounts are one; -ENOTSUP;
    // -ETIMEDOUT: withdrawn.
    std::vector<Snapshot> snapshots() {
        std::lock_guard lock(mutex_);
        return snapshots_.snapshots;
    }
    // Of the disk as it is. -EEXIST: there is one of this tag. -ENAMETOOLONG: QEMU would not find it.
    Task<int> snapshot_create(Executor &executor, SnapshotRequest request);
    // which: an id or a tag. -ENOENT, or -ENOTUNIQ where two are meant.
    Task<int> snapshot_delete(Executor &executor, std::string which);
    // The disk is again what it was, and as large as it was. What had been there since is lost.
    Task<int> snapshot_apply(Executor &executor, std::string which);
    // Any thread: those that still wait for the requests of others end, as changes that come wait for them.
    void withdraw_waiting() { turns_.withdraw_whole(); }
    // Larger: what comes anew reads zeros. -ENOTSUP: smaller, or version 2 with snapshots, whose sizes need
    // not be in the image.
    Task<int> resize(Executor &executor, uint64_t size);

  private:
    friend class Standstill;
    friend class Revision;
    friend class Compactor;

    struct Entry {
        uint64_t word = 0, subclusters = 0;
        uint64_t generation = 0; // of the map, when it was looked up
        bool operator==(const Entry &other) const {
            return word == other.word && subclusters == other.subclusters;
        }
    };
    uint64_t cluster() const { return header_.cluster_bytes(); }
    Media &data() const { return options_.data ? *options_.data : media_; }
    bool data_is_raw() const { return header_.autoclear & AUTOCLEAR_DATA_FILE_RAW; }
    us_qcow2_run run_of(const Entry &entry, uint64_t guest, uint64_t within) const {
        return us_qcow2_entry(&header_.shape, entry.word, entry.subclusters, guest, within);
    }

    // ---- image.cc
    Task<int> load_metadata();
    void note_metadata();
    // While it is one's turn. In whole sectors: the last one of the disk need not be.
    bool lies_inside(uint64_t offset, uint64_t length) const {
        uint64_t end = round_up(header_.size, US_SECTOR_BYTES);
        return offset <= end && length <= end - offset;
    }
    Task<int> find(Executor &executor, uint64_t guest, Entry &entry);
    Task<int> find_in(Executor &executor, uint64_t table, uint64_t guest, Entry &entry);
    Task<int> read_run(us_qcow2_run run, uint64_t guest, std::span<std::byte> into);
    Task<int> read_backing(uint64_t guest, std::span<std::byte> into);
    Task<int> read_compressed(us_qcow2_run run, uint64_t guest, std::span<std::byte> into);
    Task<int> read_part(Executor &executor, uint64_t offset, std::span<std::byte> into); // of one cluster
    // Of one cluster, from `within` on.
    Task<int> read_cluster(const Entry &entry, uint64_t guest, uint64_t within, std::span<std::byte> into);

    // ---- image_map.cc: what the map is told, of a cluster whose turn it is
    // A subcluster, or a cluster without.
    uint32_t unit_shift() const { return header_.shape.cluster_bits - (header_.shape.extended ? 5 : 0); }
    void show(const Entry &entry, uint64_t guest, uint64_t within, uint64_t bytes);
    void show_beside(const TableCache::Pin &slice, uint64_t place, uint64_t guest, uint64_t generation);
    us_format_kind kind_of(const us_qcow2_run &run, bool may_write, uint64_t media_bytes) const;
    void hide(uint64_t guest);
    // Hidden, and nobody writes in place any more: 0. -ECANCELED: the queue stops before.
    Task<int> still(Executor &executor, uint64_t guest);
    void note_clean();

    // ---- image_many.cc: of clusters whose turn it is
    Task<int> read_many(Executor &executor, uint64_t offset, std::span<std::byte> into);
    Task<int> write_many(Executor &executor, uint64_t offset, std::span<const std::byte> from);
    Task<int> write_fresh(Executor &executor, uint64_t guest, std::vector<Entry> befores,
                          std::span<const std::byte> bytes);

    // ---- image_write.cc: of one cluster, whose turn it is
    Task<int> may_change(Executor &executor);
    Task<int> write_part(Executor &executor, uint64_t guest, uint64_t within,
                         std::span<const std::byte> bytes);
    int check_place(const Entry &before, uint64_t guest, uint64_t within) const;
    Task<int> set_entry(Executor &executor, uint64_t guest, Entry entry);
    Task<int> table_first(Executor &executor, uint64_t guest);
    Task<int> own_table(Executor &executor, uint64_t l1_index, uint64_t &table);
    Task<int> make_table(Executor &executor, uint64_t l1_index, uint64_t shared);
    Task<int> distrust_bitmaps();
    Task<int> contradicted(Executor &executor);
    void give_up(const Entry &before, uint64_t keeps_host);

    // ---- image_place.cc
    std::optional<uint64_t> place_for(const Entry &before, uint64_t guest) const;
    uint32_t allocated_parts(const Entry &entry, uint64_t guest) const;
    Entry placed_entry(const Entry &before, uint64_t host, uint32_t allocated) const;
    Task<int> write_new(Executor &executor, Entry before, uint64_t guest, uint64_t within,
                        std::span<const std::byte> bytes);
    Task<int> write_parts(Entry before, uint64_t guest, uint64_t host, uint32_t wanted, uint32_t there,
                          uint64_t within, std::span<const std::byte> bytes);
    Task<int> write_filled(Entry before, uint64_t guest, uint64_t host, Range range, uint64_t within,
                           std::span<const std::byte> bytes);

    // ---- image_zero.cc
    Task<int> clear_cluster(Executor &executor, uint64_t guest, bool keep);
    Task<int> clear_parts(Executor &executor, uint64_t guest, const Entry &before, uint32_t parts, bool keep);
    Task<int> clear_raw(Executor &executor, uint64_t guest);
    Task<int> write_zeros(Executor &executor, uint64_t guest, uint64_t within, uint64_t length);
    Task<int> zero_part(Executor &executor, uint64_t guest, uint64_t start, uint64_t end, bool keep);
    bool reads_zeros(const us_qcow2_run &run) const;

    // ---- image_flush.cc
    // map_closed: nobody acts on what the map says.
    Task<int> round(Executor &executor, bool map_closed = false);
    Task<void> older_finds(Executor &executor);

    // ---- image_rewrite.cc
    Task<int> settle_doubt(Executor &executor);
    Task<int> rewrite_tables(Executor &executor);
    Task<int> rewrite_refcounts(Executor &executor, uint64_t block);
    Task<int> rewrite_l2(uint64_t table);
    Task<int> rewrite_snapshots(std::vector<uint64_t> &tables);
    Task<int> rewrite_range(const Range &range);

    // ---- snapshot_create.cc, snapshot_delete.cc, snapshot_apply.cc, resize.cc: within one standstill
    Task<int> take_snapshot(Executor &executor, const SnapshotRequest &request);
    Task<int> drop_snapshot(Executor &executor, const std::string &which);
    Task<int> return_to_snapshot(Executor &executor, const std::string &which);
    Task<int> grow(Executor &executor, uint64_t size);
    Task<int> grow_l1(Executor &executor, uint64_t size);
    Task<int> clear_behind(Executor &executor, uint64_t size);
    Task<int> clear_tail(Executor &executor, uint64_t from);
    Task<int> set_size(Executor &executor, uint64_t size);

    WatchedMedia watched_;
    Media &media_ = watched_;
    Header header_;
    ImageOptions options_;
    FirstSector first_sector_;
    TableCache cache_;
    Directory l1_, refcount_table_;
    Metadata metadata_;
    Allocator allocator_;
    Turns turns_;

    std::mutex mutex_;
    bool corrupt_ = false;
    bool writing_ = false; // changes while nothing is written alone
    bool mapped_ = false;  // the map is told
    SnapshotTable snapshots_;
    std::vector<Range> given_up_;      // by entries that no disk may lead to any more
    std::set<uint64_t> making_tables_; // by their index in the L1 table
    Waiters table_made_;
    uint64_t finds_begun_ = 0;
    std::set<uint64_t> finds_; // by number: those that may still read a table which has been given up since
    Waiters find_ended_;
    bool in_round_ = false;
    uint64_t rounds_begun_ = 0;
    int round_error_ = 0;
    Waiters round_ended_;
};

} // namespace us::qcow2
