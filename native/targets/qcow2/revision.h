// A change of the image's tables as a whole: a snapshot is taken, deleted or applied, the disk grows. What
// is, stays as it is; what is going to be is made beside it, and one sector leads to the one or to the other:
//
//     requests that change anything wait ─▶ rounds, until the disk has all that memory has
//     ─▶ to clusters that are free: L2 tables whose COPIED flags change, L1 tables, snapshot table, refcount
//        blocks and table ─▶ FLUSH ─▶ the header's first sector ─▶ FLUSH
//     ─▶ memory follows, what was used before is free, requests go on
//
// QEMU changes refcounts and COPIED flags in their places, one after the other, and between them the image
// contradicts itself. Here every refcount changes in the same moment as the flags that speak of it: a power
// cut leaves the image as it was, or as it is going to be, and nothing leaks. What fails before the header
// has changed nothing.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "targets/qcow2/image.h"
#include "targets/qcow2/layout.h"
#include "targets/qcow2/next_refcounts.h"

namespace us::qcow2 {

// Nothing changes the disk from begin() on until this ends. With `shared` requests that read go on, and so do
// others' standstills, whose revisions wait for one another.
class Standstill {
  public:
    explicit Standstill(Image &image) : image_(image) {}
    Standstill(const Standstill &) = delete;
    Standstill &operator=(const Standstill &) = delete;
    ~Standstill();

    // 0, or -ETIMEDOUT when it was withdrawn before; -ECANCELED: the queue stops.
    Task<int> begin(Executor &executor, bool shared);

  private:
    Task<bool> nobody_maps(Executor &executor);

    Image &image_;
    Turns::Ticket turn_{};
    bool begun_ = false, closed_ = false;
};

// During a standstill.
class Revision {
  public:
    Revision(Image &image, Executor &executor) : image_(image), executor_(executor) {}
    Revision(const Revision &) = delete;
    Revision &operator=(const Revision &) = delete;
    ~Revision();

    // There are no rounds from now on, and the disk is as memory is. 0 or -errno, as everything below: -EROFS
    // and -EUCLEAN as a write has them.
    Task<int> begin();

    // What is going to be. Tables are placed by commit().
    uint64_t size = 0;
    std::vector<uint64_t> l1;        // of the disk
    std::vector<Snapshot> snapshots; // their L1 tables are placed already
    bool rewrite_snapshots = false;

    // Of the L1 table that a snapshot has on disk.
    Task<int> read_l1(const Snapshot &snapshot, std::vector<uint64_t> &words);
    // One reference more, or less, to all that an L1 table leads to: L2 tables and clusters. -EFBIG: a
    // refcount is too narrow.
    Task<int> refer(const std::vector<uint64_t> &words, int references);
    // To clusters that hold this in the image file.
    Task<int> drop(const Range &range);
    // The disk is what this L1 table leads to, whose references have been counted. COPIED is set where it
    // belongs, in copies of the L2 tables.
    Task<int> lead_to(std::vector<uint64_t> words);
    // A table of its own.
    Task<int> write_table(std::span<const std::byte> bytes, Range &where);
    Task<int> write_l1(const std::vector<uint64_t> &words, Range &where);

    // Durable, and in memory, afterwards; or nothing has changed.
    Task<int> commit();

    // ---- revision_gather.cc, instead of all that
    // Tables move to the front, if the image ends earlier then, once the guest's clusters have moved as well,
    // or has a good deal fewer: durable afterwards. layout: as it is then. How many bytes: 0, none.
    Task<int> gather(Layout &layout, uint64_t &moved);
    // What is free of this part of the image is given back to what it lies on. end: behind the last cluster
    // of it that is not; 0: there is none.
    Task<int> give_back(uint64_t from, uint64_t until, uint64_t &end);

  private:
    using Table = std::vector<std::byte>;

    uint64_t cluster() const { return image_.cluster(); }
    Task<int> read_table(uint64_t offset, Table &table);
    int ranges_of(const Table &table, std::vector<Range> &ranges) const;
    bool mark(Table &table) const;
    Task<int> lead_to_table(uint64_t &word);
    Task<int> place_l1();
    Task<int> place_snapshots();
    Task<int> write_header();
    Task<int> lead();
    Task<void> follow();

    struct Move {
        Range from;
        uint64_t to;
    };
    Task<int> survey(Layout &layout);
    Task<int> find_data(Layout &layout);
    void find_tables(Layout &layout) const;
    void measure(Layout &layout) const;
    Task<int> move_range(const Range &range, uint64_t &offset);
    Task<int> plan(uint64_t limit);
    Task<int> plan_tables(uint64_t limit);
    Task<int> plan_snapshots(uint64_t limit);
    Task<int> write_moved();

    Image &image_;
    Executor &executor_;
    bool holds_rounds_ = false;
    Header header_; // as it is going to be
    std::optional<NextRefcounts> refcounts_;
    std::vector<uint64_t> new_tables_; // L2
    std::vector<Move> moves_;          // of what stays as it is
};

} // namespace us::qcow2
