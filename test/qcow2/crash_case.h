// One image, clients of it, and what is expected of it.
#pragma once

#include <memory>

#include "crash_model.h"
#include "targets/qcow2/create.h"
#include "targets/qcow2/image.h"

class Case {
  public:
    explicit Case(uint64_t seed) : machine(seed), seed_(seed) {}

    void set_up(const Bytes *given, bool alone);
    us::Task<void> begin();
    us::Task<void> client(uint32_t operations);
    us::Task<void> flush();
    // Of an image that nobody else uses: a second time there is nothing to do.
    us::Task<void> compact_twice();
    // whole: nothing is in flight, and nothing leaks.
    void check_state(const Bytes &bytes, bool whole);
    void leave_for_others(const std::string &prefix);
    [[noreturn]] void fail(const std::string &what) const;

    // How often what was asked for has succeeded.
    struct Done {
        uint64_t taken = 0, deleted = 0, applied = 0, grown = 0, larger_tables = 0, compacted = 0;
        uint64_t zeroed = 0, moved = 0, moved_tables = 0; // bytes
        void add(const Done &other) {
            taken += other.taken;
            deleted += other.deleted;
            applied += other.applied;
            grown += other.grown;
            larger_tables += other.larger_tables;
            compacted += other.compacted;
            zeroed += other.zeroed;
            moved += other.moved;
            moved_tables += other.moved_tables;
        }
    };

    Machine machine;
    Done done;
    std::unique_ptr<Disk> disk;
    std::unique_ptr<Disk> data; // an external data file, if there is one
    std::string data_name = "data";
    std::string data_file; // "plain" or "raw": every image has one
    // What of the data file belongs to the state that is looked at.
    Bytes data_state;
    uint32_t clients = 0;
    bool failing = false;
    bool narrow = false; // there is little room

  private:
    using Header = us::qcow2::Header;

    // ---- crash_case.cc
    void fill_table(Bytes &bytes);
    void make_data_file(uint64_t sectors);
    us::Task<void> change(uint64_t first, uint64_t count);
    us::Task<void> look(uint64_t first, uint64_t count);
    bool take(uint64_t first, uint64_t count);
    void give(uint64_t first, uint64_t count);

    // ---- crash_tables.cc
    us::Task<void> change_tables();
    us::Task<void> take_snapshot();
    us::Task<void> delete_snapshot(Shot &shot);
    us::Task<void> apply_snapshot(Shot &shot);
    us::Task<void> grow();
    us::Task<uint64_t> compact();
    void may_have(uint64_t sectors);
    void show_now(Shot &shot);
    bool may_fail(int error) const;

    // ---- crash_check.cc
    void check_raw(const std::vector<uint64_t> &values, bool whole);
    void check_disk(const std::vector<uint64_t> &values, bool whole);
    void check_applied(const std::vector<uint64_t> &values);
    void check_snapshots(us::qcow2::Media &media, const Header &header, bool whole);
    void check_shot(const Shot &shot, const std::vector<uint64_t> &values);
    std::vector<uint64_t> contents(us::qcow2::Media &media, const Header &header);
    Header of_snapshot(const Header &header, const us::qcow2::Snapshot &snapshot) const;

    uint64_t seed_;
    us::qcow2::CreateOptions options_;
    uint32_t table_clusters_ = 0;        // of its refcounts, at first
    uint64_t taken_ = 0, taken_end_ = 0; // clusters that are not free, although nothing leads to them
    std::unique_ptr<GrowingMemory> backing_;
    std::unique_ptr<us::qcow2::Image> image_;
    std::vector<Expected> guest_; // as many as the disk ever had
    uint64_t sectors_ = 0;        // of the disk
    std::set<uint64_t> sizes_;    // which may be on disk
    std::vector<std::unique_ptr<Shot>> shots_;
    std::unique_ptr<Applying> applying_;
    uint64_t applied_ = 0;    // how often that began
    std::set<uint64_t> busy_; // sectors of the guest that a client looks at or changes now
    std::set<uint64_t> changing_;
    bool resizing_ = false, whole_disk_taken_ = false;
    uint64_t next_value_ = 1 << 20; // those of given images are below
    uint64_t next_tag_ = 0;
};
